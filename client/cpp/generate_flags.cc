#include "client/cpp/generate_flags.h"

#include <cstdint>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/spec_request.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

using View = absl::string_view;

absl::Status Wrong(View flag, View value, View remedy) {
  return absl::InvalidArgumentError(absl::StrCat(flag, ": `", Printable(value), "` ", remedy));
}

// Calls `use` with the value as an integer or as a number.
template <typename Use>
absl::Status WithInteger(View flag, View value, Use use) {
  int32_t integer;
  if (!absl::SimpleAtoi(value, &integer))
    return Wrong(flag, value, "is not an integer; write one such as 20");
  return use(integer), absl::OkStatus();
}

template <typename Use>
absl::Status WithNumber(View flag, View value, Use use) {
  double number;
  if (!absl::SimpleAtod(value, &number))
    return Wrong(flag, value, "is not a number; write one such as 0.9");
  return use(number), absl::OkStatus();
}

absl::Status SetReuseKv(View value, Options& options) {
  v1::KvReuse mode;
  if (!v1::KvReuse_Parse(absl::StrCat("KV_REUSE_", absl::AsciiStrToUpper(value)), &mode) ||
      mode == v1::KV_REUSE_UNSPECIFIED) {
    return Wrong("--reuse-kv", value, "is none of intervened, clean_prompt, recompute_all");
  }
  return options.generate.set_reuse_kv(mode), absl::OkStatus();
}

absl::Status AddStopIds(View value, Options& options) {
  const absl::StatusOr<std::vector<int32_t>> ids = Int32sOf("--stop-ids", value);
  if (ids.ok()) options.generate.mutable_stop()->mutable_ids()->Add(ids->begin(), ids->end());
  return ids.status();
}

std::vector<Flag> EndFlags() {
  return {
      {"--max-new-tokens", "N", "new tokens at most; required",
       [](View value, Options& options) {
         return WithInteger("--max-new-tokens", value, [&options](int32_t n) {
           options.generate.mutable_stop()->set_max_new_tokens(n);
         });
       }},
      {"--min-new-tokens", "N", "choose no token that ends it before these",
       [](View value, Options& options) {
         return WithInteger("--min-new-tokens", value, [&options](int32_t n) {
           options.generate.mutable_stop()->set_min_new_tokens(n);
         });
       }},
      {"--stop", "TEXT", "a text that ends it; may be repeated",
       [](View value, Options& options) {
         return options.generate.mutable_stop()->add_strings(std::string(value)), absl::OkStatus();
       }},
      {"--stop-ids", "IDS", "tokens that end it, besides the model's own", AddStopIds},
      {"--ignore-eos", nullptr, "the model's end-of-text token does not end it",
       [](View, Options& options) {
         return options.generate.mutable_stop()->set_ignore_eos(true), absl::OkStatus();
       }},
  };
}

std::vector<Flag> SamplingFlags() {
  return {
      {"--sample", nullptr, "draw each token; otherwise the most probable one",
       [](View, Options& options) {
         return options.generate.mutable_sampling()->set_sample(true), absl::OkStatus();
       }},
      {"--temperature", "T", "of draws; default 1",
       [](View value, Options& options) {
         return WithNumber("--temperature", value, [&options](double t) {
           options.generate.mutable_sampling()->set_temperature(t);
         });
       }},
      {"--top-p", "P", "draw from the most probable that make up P",
       [](View value, Options& options) {
         return WithNumber("--top-p", value, [&options](double p) {
           options.generate.mutable_sampling()->set_top_p(p);
         });
       }},
      {"--min-p", "P", "draw from those with P times the largest or more",
       [](View value, Options& options) {
         return WithNumber("--min-p", value, [&options](double p) {
           options.generate.mutable_sampling()->set_min_p(p);
         });
       }},
      {"--repetition-penalty", "R", "above 1: tokens that are there become less likely",
       [](View value, Options& options) {
         return WithNumber("--repetition-penalty", value, [&options](double r) {
           options.generate.mutable_sampling()->set_repetition_penalty(r);
         });
       }},
  };
}

}  // namespace

std::vector<Flag> GenerateFlags() {
  std::vector<Flag> flags = EndFlags();
  flags.insert(flags.end(),
               {{"--reuse-kv", "MODE", "intervened, clean_prompt or recompute_all", SetReuseKv},
                {"--unsteered", nullptr, "also the text without interventions, below",
                 [](View, Options& options) {
                   return options.generate.set_unsteered(true), absl::OkStatus();
                 }},
                {"--continuations", "N", "texts of each prompt; default 1",
                 [](View value, Options& options) {
                   return WithInteger("--continuations", value, [&options](int32_t n) {
                     options.generate.set_continuations(n);
                   });
                 }}});
  for (Flag& flag : SamplingFlags()) flags.push_back(std::move(flag));
  return flags;
}

}  // namespace scalpel::client
