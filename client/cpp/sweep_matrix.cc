#include "client/cpp/sweep_matrix.h"

#include <limits>
#include <utility>

namespace scalpel::client {
namespace {

std::vector<int32_t> ShapeOf(const v1::SweepStarted& started) {
  if (started.axes().empty()) return {started.variants()};
  std::vector<int32_t> shape;
  for (const v1::AxisInfo& axis : started.axes()) shape.push_back(axis.labels_size());
  return shape;
}

}  // namespace

std::vector<SweepMatrix> GatherMatrices(const v1::SweepStarted& started,
                                        const std::map<int32_t, v1::VariantResult>& variants) {
  const std::vector<int32_t> shape = ShapeOf(started);
  int64_t cells = 1;
  for (const int32_t length : shape) cells *= length;
  if (cells != started.variants()) return {};  // of a server that this client is not for
  std::map<std::pair<int32_t, int32_t>, SweepMatrix> matrices;
  for (const auto& [index, variant] : variants) {
    if (index < 0 || index >= cells) continue;
    for (const v1::MetricResult& result : variant.metrics()) {
      if (result.values_size() != 1) continue;
      SweepMatrix& matrix = matrices[{result.index(), result.prompt()}];
      if (matrix.values.empty()) {
        matrix = {result.index(), result.name(), result.prompt(), shape,
                  std::vector<double>(cells, std::numeric_limits<double>::quiet_NaN())};
      }
      matrix.values[index] = result.values(0);
    }
  }
  std::vector<SweepMatrix> sorted;
  for (auto& [key, matrix] : matrices) sorted.push_back(std::move(matrix));
  return sorted;
}

}  // namespace scalpel::client
