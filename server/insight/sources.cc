#include "server/insight/sources.h"

#include <algorithm>

namespace scalpel::insight {

void Sources::Add(prometheus::MetricType type, const std::string& name, const std::string& help,
                  Read read, prometheus::Labels labels) {
  absl::MutexLock lock(&mutex_);
  auto family = std::find_if(families_.begin(), families_.end(),
                             [&](const Family& known) { return known.name == name; });
  if (family == families_.end())
    family = families_.insert(family, Family{type, name, help, /*series=*/{}});
  family->series.push_back({std::move(labels), std::move(read)});
}

std::vector<prometheus::MetricFamily> Sources::Collect() const {
  absl::MutexLock lock(&mutex_);
  std::vector<prometheus::MetricFamily> answer;
  for (const Family& family : families_) {
    prometheus::MetricFamily& out = answer.emplace_back();
    out.name = family.name;
    out.help = family.help;
    out.type = family.type;
    for (const Series& series : family.series) {
      prometheus::ClientMetric& metric = out.metric.emplace_back();
      for (const auto& [name, value] : series.labels) metric.label.push_back({name, value});
      (family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) =
          series.read();
    }
  }
  return answer;
}

}  // namespace scalpel::insight
