#include "client/cpp/sweep_flags.h"

#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cpp/spec_grammar.h"
#include "client/cpp/spec_reader.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

using View = absl::string_view;

// Returns whether a token is written as an id, such as `id:893`, and stores the id.
bool IdOf(View token, int32_t* id) {
  return absl::ConsumePrefix(&token, "id:") && absl::SimpleAtoi(token, id);
}

void AddToken(View token, google::protobuf::RepeatedField<int32_t>* ids,
              google::protobuf::RepeatedPtrField<std::string>* texts) {
  int32_t id;
  if (IdOf(token, &id)) {
    ids->Add(id);
  } else {
    *texts->Add() = std::string(token);
  }
}

// Returns a token as it is shown: `" Mary"` or `id:893`.
std::string TokenName(View token) {
  int32_t id;
  return IdOf(token, &id) ? std::string(token) : Quoted(token);
}

// Adds a metric of one token, which the metric is named after.
template <v1::MetricTokens* (v1::Metric::*tokens)(), const char* name>
absl::Status AddTokenMetric(View token, Options& options) {
  v1::Metric* metric = options.sweep.add_metrics();
  metric->set_name(absl::StrCat(name, " ", TokenName(token)));
  AddToken(token, (metric->*tokens)()->mutable_ids(), (metric->*tokens)()->mutable_texts());
  return absl::OkStatus();
}

constexpr char kLogit[] = "logit";
constexpr char kLogProb[] = "log p";
constexpr char kProbability[] = "p";
constexpr char kRank[] = "rank";

template <typename Difference>
void FillDifference(View target, View distractor, Difference* difference) {
  AddToken(target, difference->mutable_targets(), difference->mutable_target_texts());
  AddToken(distractor, difference->mutable_distractors(), difference->mutable_distractor_texts());
}

absl::Status AddLogitDiff(View target, View distractor, Options& options) {
  v1::Metric* metric = options.sweep.add_metrics();
  metric->set_name(absl::StrCat("logit ", TokenName(target), " - ", TokenName(distractor)));
  FillDifference(target, distractor, metric->mutable_logit_diff());
  return absl::OkStatus();
}

absl::Status AddScore(View target, View distractor, Options& options) {
  v1::Metric* metric = options.sweep.add_metrics();
  metric->set_name(absl::StrCat("score ", TokenName(target), " - ", TokenName(distractor)));
  FillDifference(target, distractor, metric->mutable_patching_score());
  return absl::OkStatus();
}

absl::Status AddAxis(View text, Options& options) {
  const absl::StatusOr<v1::GridAxis> axis = AxisOf(text);
  if (axis.ok()) *options.sweep.mutable_grid()->add_axes() = *axis;
  return axis.status();
}

absl::Status SetMetricPosition(View value, Options& options) {
  int64_t position;
  if (!absl::SimpleAtoi(value, &position)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--at: `", Printable(value), "` is not a position; write one such as -1"));
  }
  options.metric_position = position;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::GridAxis> AxisOf(absl::string_view text) {
  const size_t equals = text.find('=');
  const View kind = absl::StripSuffix(text.substr(0, equals), "s");
  const View list = equals == View::npos ? View() : text.substr(equals + 1);
  v1::GridAxis axis;
  if (kind != "value") {
    v1::Indices* indices = kind == "layer"      ? axis.mutable_layers()
                           : kind == "head"     ? axis.mutable_heads()
                           : kind == "position" ? axis.mutable_positions()
                                                : nullptr;
    if (indices == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("--over: `", Printable(kind),
                       "` is not an axis; write layers, heads, positions or values=A,B,..."));
    }
    if (equals == View::npos) return axis;  // all indices
    const absl::StatusOr<Spec> spec = ParseList("--over", list);
    if (!spec.ok()) return spec.status();
    const absl::StatusOr<std::vector<int64_t>> values = IntegersOf(*spec, spec->fields[0].values);
    if (!values.ok()) return values.status();
    indices->mutable_values()->Add(values->begin(), values->end());
    return axis;
  }
  const absl::StatusOr<Spec> spec = ParseList("--over", list);
  if (!spec.ok()) return spec.status();
  SpecReader reader(*spec);
  reader.Numbers("", axis.mutable_values()->mutable_values());
  if (const absl::Status status = reader.Finish(); !status.ok()) return status;
  return axis;
}

std::vector<Flag> SweepFlags() {
  return {
      {"--over", "AXIS", "an axis of the grid: layers, heads, positions, values", AddAxis},
      {"--source", "TEXT", "adds a prompt to patch from, and to compare with",
       [](View value, Options& options) {
         return options.sweep.add_sources()->set_text(std::string(value)), absl::OkStatus();
       }},
      {"--logit-diff", "TOKEN TOKEN", "the first one's logit minus the second one's", nullptr,
       AddLogitDiff},
      {"--score", "TOKEN TOKEN", "that difference, 0 as clean and 1 as the source", nullptr,
       AddScore},
      {"--kl", nullptr, "KL(clean || variant); the default metric",
       [](View, Options& options) {
         return options.sweep.add_metrics()->mutable_kl_from_clean(), absl::OkStatus();
       }},
      {"--agreement", nullptr, "whether the most probable token stays",
       [](View, Options& options) {
         return options.sweep.add_metrics()->mutable_top1_agreement(), absl::OkStatus();
       }},
      {"--logit", "TOKEN", "its logit", AddTokenMetric<&v1::Metric::mutable_logits, kLogit>},
      {"--log-prob", "TOKEN", "the logarithm of its probability",
       AddTokenMetric<&v1::Metric::mutable_log_probs, kLogProb>},
      {"--prob", "TOKEN", "its probability",
       AddTokenMetric<&v1::Metric::mutable_probabilities, kProbability>},
      {"--rank", "TOKEN", "how many tokens are more probable",
       AddTokenMetric<&v1::Metric::mutable_ranks, kRank>},
      {"--loss", nullptr, "mean -log p of the prompt's own tokens",
       [](View, Options& options) {
         return options.sweep.add_metrics()->mutable_loss(), absl::OkStatus();
       }},
      {"--at", "POSITION", "where these metrics read; default -1, the last", SetMetricPosition},
      {"--reports", nullptr, "what each intervention did",
       [](View, Options& options) { return options.sweep.set_reports(true), absl::OkStatus(); }},
  };
}

}  // namespace scalpel::client
