#include "client/cpp/sweep_view.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cpp/non_finite.h"
#include "client/cpp/sparkline.h"
#include "client/cpp/spec_request.h"
#include "client/cpp/started_view.h"
#include "client/cpp/table.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

constexpr size_t kFurthestShown = 5;
constexpr int kListRowsMax = 64;  // a longer list is summarised
constexpr int64_t kMapsMax = 12;  // for a grid of three axes or more
constexpr int kLabelColumnsMax = 32;
constexpr int kNameColumnsMax = 30;
constexpr int kBarColumns = 30;

// Formats a number with its sign, as in `+0.4` or `-3.1`.
std::string Signed(double value) { return absl::StrCat(value < 0 ? "" : "+", Number(value)); }

}  // namespace

SweepView::SweepView(const Screen& screen, std::ostream* progress)
    : screen_(screen), progress_(progress), begun_(absl::Now()) {}

SweepView::~SweepView() { ClearProgress(); }

void SweepView::Add(const v1::SweepResponse& response) {
  switch (response.event_case()) {
    case v1::SweepResponse::kStarted:
      return Begin(response.started());
    case v1::SweepResponse::kClean:
      clean_ = response.clean();
      return;
    case v1::SweepResponse::kVariant:
      variants_[response.variant().index()] = response.variant();
      return;
    case v1::SweepResponse::kProgress:
      return ShowProgress(response.progress());
    case v1::SweepResponse::kFinished:
      return End(response.finished());
    case v1::SweepResponse::EVENT_NOT_SET:
      return;
  }
}

void SweepView::Begin(const v1::SweepStarted& started) {
  started_ = started;
  std::vector<std::string> axes;
  for (const v1::AxisInfo& axis : started.axes())
    axes.push_back(Count(axis.labels_size(), Fit(Printable(axis.name()), 24)));
  const v1::SweepRequest& request = started.normalized();
  std::string what =
      axes.empty() ? Count(started.variants(), "variant") : absl::StrJoin(axes, " x ");
  absl::StrAppend(&what, ", ", Count(request.prompts_size(), "prompt"));
  if (!request.sources().empty())
    absl::StrAppend(&what, ", ", Count(request.sources_size(), "source"));
  absl::StrAppend(&what, ", ", Flops(started.cost().flops()));
  const std::string id = absl::StrCat("sweep ", Fit(Printable(started.request_id()), 64));
  screen_.out << screen_.Bold(id) << "  " << Fit(what, screen_.columns - Columns(id) - 2) << "\n";
  PrintPrompts(screen_, started.prompts());
  if (request.validate_only()) {
    screen_.out << "\n";
    PrintPlan(screen_, started.cost(), started.digest(), request);
  }
}

void SweepView::ShowProgress(const v1::SweepProgress& progress) {
  if (progress_ == nullptr) return;
  progress_shown_ = true;
  const double fraction = static_cast<double>(progress.done()) / std::max(1, progress.total());
  *progress_ << "\r  " << PadRight(Bar(fraction, kBarColumns), kBarColumns) << " "
             << Thousands(progress.done()) << " of " << Thousands(progress.total()) << " variants"
             << std::flush;
}

void SweepView::ClearProgress() {
  if (progress_shown_) *progress_ << "\r\x1b[K" << std::flush;
  progress_shown_ = false;
}

void SweepView::End(const v1::SweepFinished& finished) {
  ClearProgress();
  for (const SweepMatrix& matrix : GatherMatrices(started_, variants_)) PrintMatrix(matrix);
  PrintTopTokens();
  PrintStatistics();
  PrintReports();
  if (finished.has_first_non_finite_variant()) {
    const int64_t count = finished.non_finite_variants();
    const std::string first = LabelOf(finished.first_non_finite_variant());
    PrintNonFinite(
        screen_, count == 1 ? first : absl::StrCat(Count(count, "variant"), ", the first ", first),
        finished.first_non_finite());
  }
  const absl::Duration compute = absl::Microseconds(finished.compute_us());
  const std::string times = absl::StrCat(
      "queue ", Milliseconds(absl::Microseconds(finished.queue_us())), ", compute ",
      Milliseconds(compute), ", ", Milliseconds(compute / std::max(1, finished.variants())),
      " a variant, total ", Milliseconds(absl::Now() - begun_), ", ",
      Count(finished.tokens_computed(), "token"));
  screen_.out << "\n";
  for (const std::string& line : Wrapped(times, screen_.columns))
    screen_.out << screen_.Dim(line) << "\n";
}

const v1::MetricResult* SweepView::CleanOf(const SweepMatrix& matrix) const {
  for (const v1::MetricResult& result : clean_.metrics()) {
    if (result.index() == matrix.metric && result.prompt() == matrix.prompt) return &result;
  }
  return nullptr;
}

std::string SweepView::LabelOf(int32_t variant) const {
  const auto found = variants_.find(variant);
  if (found == variants_.end()) return absl::StrCat(variant);
  if (started_.axes().empty()) return Printable(found->second.name());
  std::vector<std::string> parts;
  for (int i = 0; i < std::min(started_.axes_size(), found->second.coordinates_size()); ++i) {
    const v1::AxisInfo& axis = started_.axes(i);
    const int at = found->second.coordinates(i);
    if (at < 0 || at >= axis.labels_size()) continue;
    parts.push_back(absl::StrCat(Printable(axis.name()), " ", Printable(axis.labels(at))));
  }
  return absl::StrJoin(parts, ", ");
}

void SweepView::PrintTitle(const SweepMatrix& matrix) {
  std::string title = Fit(Printable(matrix.name), kNameColumnsMax);
  if (several_prompts()) absl::StrAppend(&title, ", prompt ", matrix.prompt);
  screen_.out << "\n" << screen_.Bold(title);
  const v1::MetricResult* clean = CleanOf(matrix);
  if (clean != nullptr && clean->values_size() == 2) {
    screen_.out << "  0 is clean (" << Number(clean->values(0)) << "), 1 is the source ("
                << Number(clean->values(1)) << ")";
  } else if (clean != nullptr && clean->values_size() == 1) {
    screen_.out << "  clean " << Number(clean->values(0));
  }
  screen_.out << "\n";
}

void SweepView::PrintMatrix(const SweepMatrix& matrix) {
  PrintTitle(matrix);
  const bool list = matrix.shape.size() < 2;
  if (list && static_cast<int>(matrix.values.size()) <= kListRowsMax) return PrintList(matrix);
  if (!list) PrintMaps(matrix);
  PrintFurthest(matrix);
}

void SweepView::PrintList(const SweepMatrix& matrix) {
  Scale scale;
  scale.Include(matrix.values);
  scale.Include({0.0});  // bars begin there
  std::vector<std::vector<std::string>> rows;
  for (int i = 0; i < static_cast<int>(matrix.values.size()); ++i) {
    const double value = matrix.values[i];
    const double fraction =
        std::isfinite(value) ? std::abs(value) / std::max(scale.high, -scale.low) : 0;
    const std::string label =
        started_.axes_size() == 1 ? Printable(started_.axes(0).labels(i)) : LabelOf(i);
    rows.push_back({Fit(label, kLabelColumnsMax), Number(value), Bar(fraction, kBarColumns)});
  }
  const std::string name =
      started_.axes_size() == 1 ? Printable(started_.axes(0).name()) : "variant";
  PrintTable(screen_, {{Fit(name, kLabelColumnsMax), true}, {"", true}, {""}}, rows);
}

void SweepView::PrintMaps(const SweepMatrix& matrix) {
  const int axes = static_cast<int>(matrix.shape.size());
  HeatMap map;
  const auto fill = [&](int i, MapAxis* axis) {
    axis->name = Fit(Printable(started_.axes(i).name()), 24);
    for (const std::string& label : started_.axes(i).labels())
      axis->labels.push_back(Printable(label));
  };
  fill(axes - 2, &map.rows);
  fill(axes - 1, &map.columns);
  const v1::MetricResult* clean = CleanOf(matrix);
  if (clean != nullptr) map.centre = clean->values_size() == 1 ? clean->values(0) : 0;
  if (map.centre && !std::isfinite(*map.centre)) map.centre.reset();
  const int64_t size = int64_t{matrix.shape[axes - 2]} * matrix.shape[axes - 1];
  const auto maps = static_cast<int64_t>(matrix.values.size()) / size;
  for (int64_t i = 0; i < std::min(maps, kMapsMax); ++i) {
    if (maps > 1) {
      std::string where = LabelOf(static_cast<int32_t>(i * size));
      const size_t end =
          where.find(absl::StrCat(", ", Printable(started_.axes(axes - 2).name()), " "));
      screen_.out << "\n  " << where.substr(0, end) << "\n";
    }
    const double* first = matrix.values.data() + i * size;
    map.values.assign(first, first + size);
    PrintHeatMap(screen_, map);
  }
  if (maps > kMapsMax)
    screen_.out << "  ... " << Count(maps - kMapsMax, "more map") << "; --json has them\n";
}

void SweepView::PrintFurthest(const SweepMatrix& matrix) {
  const v1::MetricResult* clean = CleanOf(matrix);
  const bool centred =
      clean != nullptr && clean->values_size() == 1 && std::isfinite(clean->values(0));
  const double centre = centred ? clean->values(0) : 0;
  std::vector<int> order;  // of those that have a number
  for (int i = 0; i < static_cast<int>(matrix.values.size()); ++i) {
    if (std::isfinite(matrix.values[i])) order.push_back(i);
  }
  if (order.empty()) return;
  const auto distance = [&](int i) { return std::abs(matrix.values[i] - centre); };
  const size_t shown = std::min(order.size(), kFurthestShown);
  std::partial_sort(order.begin(), order.begin() + shown, order.end(), [&](int a, int b) {
    return distance(a) != distance(b) ? distance(a) > distance(b) : a < b;
  });
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < shown; ++i) {
    const double value = matrix.values[order[i]];
    rows.push_back({Fit(LabelOf(order[i]), kLabelColumnsMax), Number(value),
                    centred ? Signed(value - centre) : ""});
  }
  screen_.out << screen_.Dim(centred ? "  furthest from clean" : "  furthest from 0") << "\n";
  PrintTable(screen_, {{""}, {"", true}, {"", true}}, rows);
}

// Prints the most probable tokens of each variant, for top_k metrics.
void SweepView::PrintTopTokens() {
  std::map<std::pair<int32_t, int32_t>, std::vector<std::vector<std::string>>> tables;
  std::map<std::pair<int32_t, int32_t>, std::string> names;
  const auto add = [&](const std::string& label, const v1::MetricResult& result) {
    if (result.tokens().empty()) return;
    auto& rows = tables[{result.index(), result.prompt()}];
    names[{result.index(), result.prompt()}] = result.name();
    if (static_cast<int>(rows.size()) > kListRowsMax) return;
    std::vector<std::string> tokens;
    for (const v1::TokenLogit& token : result.tokens()) {
      if (token.token_id() < 0) {
        tokens.push_back("nan");  // NaN among the logits: no order
        continue;
      }
      tokens.push_back(absl::StrFormat(
          "%s %.1f%%",
          token.token().empty() ? absl::StrCat("id:", token.token_id()) : Quoted(token.token()),
          100 * std::exp(token.log_prob())));
    }
    rows.push_back({Fit(label, kLabelColumnsMax), absl::StrJoin(tokens, "  ")});
  };
  for (const v1::MetricResult& result : clean_.metrics()) add("clean", result);
  for (const auto& [index, variant] : variants_) {
    for (const v1::MetricResult& result : variant.metrics()) add(LabelOf(index), result);
  }
  for (const auto& [key, rows] : tables) {
    screen_.out << "\n" << screen_.Bold(Fit(Printable(names[key]), kNameColumnsMax));
    if (started_.prompts_size() > 1)
      screen_.out << screen_.Bold(absl::StrCat(", prompt ", key.second));
    screen_.out << "\n";
    PrintTable(screen_, {{"variant"}, {"most probable"}}, rows);
    if (started_.variants() > kListRowsMax)
      screen_.out << "  ... --json has all " << Thousands(started_.variants()) << "\n";
  }
}

// Prints a map of variants by layers for each statistic that is a single number.
void SweepView::PrintStatistics() {
  std::map<std::tuple<int32_t, int32_t, std::string>, std::map<int32_t, std::map<int32_t, double>>>
      maps;
  std::map<int32_t, std::string> names;
  bool arrays = false;
  const auto add = [&](int32_t variant, const v1::ProbeResult& result) {
    names[result.index()] = result.name();
    arrays = arrays || !result.shape().empty() || result.has_histogram();
    if (!result.shape().empty()) return;
    const int32_t layer = result.has_layer() ? result.layer() : -1;
    for (const v1::StatisticValues& values : result.statistics())
      maps[{result.index(), result.prompt(), NameOf(values.statistic())}][variant][layer] =
          values.values(0);
    for (const v1::QuantileValues& values : result.quantiles())
      maps[{result.index(), result.prompt(), absl::StrCat("q", values.quantile())}][variant]
          [layer] = values.values(0);
  };
  for (const v1::ProbeResult& result : clean_.statistics()) add(-1, result);
  for (const auto& [index, variant] : variants_) {
    if (index >= kListRowsMax) break;
    for (const v1::ProbeResult& result : variant.statistics()) add(index, result);
  }
  for (const auto& [key, by_variant] : maps) {
    const auto& [probe, prompt, statistic] = key;
    HeatMap map;
    map.rows.name = "variant";
    map.columns.name = "layer";
    for (const auto& [layer, value] : by_variant.begin()->second)
      map.columns.labels.push_back(layer < 0 ? "-" : absl::StrCat(layer));
    for (const auto& [variant, by_layer] : by_variant) {
      map.rows.labels.push_back(variant < 0 ? "clean" : LabelOf(variant));
      for (const auto& [layer, value] : by_layer) map.values.push_back(value);
    }
    if (map.values.size() != map.rows.labels.size() * map.columns.labels.size()) continue;
    screen_.out << "\n"
                << screen_.Bold(absl::StrCat(
                       statistic, " of ", Fit(Printable(names[probe]), kNameColumnsMax),
                       several_prompts() ? absl::StrCat(", prompt ", prompt) : ""))
                << "\n";
    PrintHeatMap(screen_, std::move(map));
  }
  if (arrays)
    screen_.out << "\n  numbers per head, position or unit, and histograms, are in --json\n";
  if (!maps.empty() && started_.variants() > kListRowsMax)
    screen_.out << "\n  the first " << kListRowsMax << " variants; --json has all\n";
}

void SweepView::PrintReports() {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [index, variant] : variants_) {
    for (const v1::InterventionReport& report : variant.reports()) {
      if (static_cast<int>(rows.size()) == kListRowsMax) break;
      rows.push_back({Fit(LabelOf(index), kLabelColumnsMax), Fit(Printable(report.name()), 24),
                      Thousands(report.elements_changed()), Number(report.max_abs_change())});
    }
  }
  if (rows.empty()) return;
  screen_.out << "\n" << screen_.Bold("interventions") << "\n";
  PrintTable(screen_, {{"variant"}, {"name"}, {"changed", true}, {"max |change|", true}}, rows);
}

}  // namespace scalpel::client
