#include "tests/bench/kernels/expected.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace scalpel::bench {

double TakeError(at::Tensor& y, const std::vector<Expected>& expected) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double largest = 0;
  for (const Expected& some : expected) {
    const float* got = y.const_data_ptr<float>() + some.offset;
    for (size_t i = 0; i < some.values.size(); ++i) {
      const double error = std::abs(got[i] - some.values[i]) / some.tolerances[i];
      largest = std::max(largest, std::isnan(error) ? kInfinity : error);
    }
  }
  y.fill_(std::numeric_limits<float>::quiet_NaN());
  return largest;
}

}  // namespace scalpel::bench
