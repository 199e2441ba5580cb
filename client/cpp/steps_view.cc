#include "client/cpp/steps_view.h"

#include "absl/strings/str_cat.h"
#include "client/cpp/heat_map.h"
#include "client/cpp/spec_request.h"
#include "client/cpp/text.h"

namespace scalpel::client {

void StepsView::Add(const std::string& stream, const v1::StepEvent& event) {
  if (!event.has_layer_statistics()) {
    more_ = true;
    return;
  }
  for (const v1::ProbeResult& result : event.layer_statistics().results())
    AddResult(stream, event.step(), result);
}

void StepsView::AddResult(const std::string& stream, int32_t step, const v1::ProbeResult& result) {
  more_ = more_ || !result.shape().empty() || result.has_histogram();
  if (!result.shape().empty()) return;
  const int32_t layer = result.has_layer() ? result.layer() : -1;
  const auto add = [&](const std::string& statistic, double value) {
    maps_[{stream, absl::StrCat(statistic, " of ", Printable(result.name()))}][step][layer] = value;
  };
  for (const v1::StatisticValues& one : result.statistics()) {
    if (!one.values().empty()) add(NameOf(one.statistic()), one.values(0));
  }
  for (const v1::QuantileValues& one : result.quantiles()) {
    if (!one.values().empty()) add(absl::StrCat("q", one.quantile()), one.values(0));
  }
}

void StepsView::Print(const Screen& screen) const {
  for (const auto& [key, by_step] : maps_) {
    HeatMap map;
    map.rows.name = "step";
    map.columns.name = "layer";
    for (const auto& [layer, value] : by_step.begin()->second)
      map.columns.labels.push_back(layer < 0 ? "-" : absl::StrCat(layer));
    for (const auto& [step, by_layer] : by_step) {
      map.rows.labels.push_back(absl::StrCat(step));
      for (const auto& [layer, value] : by_layer) map.values.push_back(value);
    }
    if (map.values.size() != map.rows.labels.size() * map.columns.labels.size()) continue;
    const std::string title = absl::StrCat(key.second, ", ", key.first);
    screen.out << "\n" << screen.Bold(Fit(title, screen.columns)) << "\n";
    PrintHeatMap(screen, map);
  }
  if (more_) {
    screen.out
        << "\n  --json has logits, tensors, histograms, and numbers by head, position or unit\n";
  }
}

}  // namespace scalpel::client
