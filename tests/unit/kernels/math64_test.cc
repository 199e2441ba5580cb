// Compares exp and log with those of long double, and the bits of all targets.

#include "server/kernels/math64.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "server/kernels/targets.h"

namespace scalpel::kernels {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kTiny = std::numeric_limits<double>::denorm_min();
constexpr double kMaxUlp = 1;

using Array = void (*)(const double* x, double* y, int64_t count);
using Exact = std::function<long double(long double)>;

class Math64 : public ::testing::Test {
 protected:
  void TearDown() override { ForceTarget(""); }
};

std::vector<double> Of(Array function, const std::vector<double>& x) {
  std::vector<double> y(x.size());
  function(x.data(), y.data(), static_cast<int64_t>(x.size()));
  return y;
}

// Returns |value - exact| in units in the last place of the double nearest to `exact`.
double Ulps(double value, long double exact) {
  const auto nearest = static_cast<double>(exact);
  if (std::isinf(nearest) || std::isinf(value)) {
    // The largest double and infinity are neighbours.
    return value == nearest || std::nextafter(value, nearest) == nearest ? 0 : kInfinity;
  }
  const double size = std::max(std::abs(nearest), std::numeric_limits<double>::min());
  const long double ulp = std::ldexp(1.0L, std::ilogb(size) - 52);
  return static_cast<double>(std::abs(value - exact) / ulp);
}

// Checks the largest error over `x`, and that the bits of all targets are equal.
double WorstUlps(Array function, const Exact& exact, const std::vector<double>& x) {
  const std::vector<double> first = Of(function, x);
  for (const std::string_view target : Targets()) {
    ForceTarget(target);
    EXPECT_EQ(std::memcmp(Of(function, x).data(), first.data(), 8 * x.size()), 0) << target;
  }
  ForceTarget("");
  double worst = 0, where = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double ulps = Ulps(first[i], exact(x[i]));
    if (!(ulps <= worst)) worst = ulps, where = x[i];
  }
  ::testing::Test::RecordProperty("worst_ulps", std::to_string(worst));
  EXPECT_LE(worst, kMaxUlp) << "at " << where;
  return worst;
}

std::vector<double> Uniform(double low, double high, int count) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> x(count);
  for (double& value : x) value = uniform(random);
  return x;
}

// Positive doubles with uniformly distributed bit patterns: all exponents, including subnormals.
std::vector<double> AllSizes(int count) {
  std::mt19937_64 random(11);
  std::vector<double> x;
  while (static_cast<int>(x.size()) < count) {
    const double value = std::bit_cast<double>(random() >> 1);
    if (std::isfinite(value) && value > 0) x.push_back(value);
  }
  return x;
}

// `value` and the `count` nearest doubles on either side.
std::vector<double> Around(double value, int count) {
  std::vector<double> x = {value};
  double below = value, above = value;
  for (int i = 0; i < count; ++i) {
    x.push_back(below = std::nextafter(below, -kInfinity));
    x.push_back(above = std::nextafter(above, kInfinity));
  }
  return x;
}

void ExpectSpecial(Array function, const std::vector<double>& x, const std::vector<double>& y) {
  for (const std::string_view target : Targets()) {
    ForceTarget(target);
    const std::vector<double> made = Of(function, x);
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(std::bit_cast<uint64_t>(made[i]), std::bit_cast<uint64_t>(y[i]))
          << target << " of " << x[i] << ": " << made[i];
    }
  }
}

TEST_F(Math64, ExpIsAccurate) {
  const Exact exact = [](long double x) { return std::exp(x); };
  WorstUlps(Exp, exact, Uniform(-746, 710, 2'000'000));
  WorstUlps(Exp, exact, Uniform(-40, 40, 1'000'000));
  WorstUlps(Exp, exact, Uniform(-1, 1, 1'000'000));
  WorstUlps(Exp, exact, Uniform(-745.2, -708, 1'000'000));  // subnormal results
  std::vector<double> small = AllSizes(1'000'000);
  for (double& x : small) x = std::min(x, 700.0);
  WorstUlps(Exp, exact, small);
  for (double& x : small) x = -x;
  WorstUlps(Exp, exact, small);
}

// Where the argument reduction changes from one multiple of ln 2 to the next, and where results
// overflow or underflow.
TEST_F(Math64, ExpIsAccurateBetweenItsRanges) {
  const Exact exact = [](long double x) { return std::exp(x); };
  std::vector<double> x;
  for (int k = -1075; k <= 1024; ++k) {
    for (const double at : {std::log(2.0) * k, std::log(2.0) * (k + 0.5)}) {
      for (const double near : Around(at, 20)) x.push_back(near);
    }
  }
  for (const double end :
       {709.782712893384, -708.3964185322641, -745.1332191019412, 1000.0, -1000.0})
    for (const double near : Around(end, 1000)) x.push_back(near);
  WorstUlps(Exp, exact, x);
}

TEST_F(Math64, ExpOfSpecialValues) {
  ExpectSpecial(Exp, {0, -0.0, kInfinity, -kInfinity, kNan, -kNan, 1e308, -1e308, kTiny, -kTiny},
                {1, 1, kInfinity, 0, kNan, kNan, kInfinity, 0, 1, 1});
}

TEST_F(Math64, LogIsAccurate) {
  const Exact exact = [](long double x) { return std::log(x); };
  WorstUlps(Log, exact, AllSizes(2'000'000));
  WorstUlps(Log, exact, Uniform(0.5, 2, 2'000'000));
  WorstUlps(Log, exact, Uniform(0.999, 1.001, 1'000'000));
  WorstUlps(Log, exact, Uniform(0, 1e6, 1'000'000));
  std::vector<double> subnormal = Uniform(0, 1, 100'000);
  for (double& x : subnormal) x *= 0x1p-1022;
  WorstUlps(Log, exact, subnormal);
}

// Around 1, where the result vanishes, and at powers of two times 1 or sqrt(1/2), where the
// reduction changes.
TEST_F(Math64, LogIsAccurateBetweenItsRanges) {
  const Exact exact = [](long double x) { return std::log(x); };
  std::vector<double> x = Around(1, 100'000);
  for (int k = -1073; k <= 1023; ++k) {
    for (const double at : {std::ldexp(1.0, k), std::ldexp(std::sqrt(0.5), k)}) {
      for (const double near : Around(at, 20)) {
        if (near > 0) x.push_back(near);
      }
    }
  }
  WorstUlps(Log, exact, x);
}

TEST_F(Math64, LogOfSpecialValues) {
  ExpectSpecial(Log, {1, 0, -0.0, kInfinity, -kInfinity, kNan, -kNan, -1, -kTiny},
                {0, -kInfinity, -kInfinity, kInfinity, kNan, kNan, kNan, kNan, kNan});
}

TEST_F(Math64, ResultsDoNotDependOnTheCount) {
  const std::vector<double> x = Uniform(0.1, 30, 37);
  for (const std::string_view target : Targets()) {
    ForceTarget(target);
    for (const Array function : {static_cast<Array>(Exp), static_cast<Array>(Log)}) {
      const std::vector<double> all = Of(function, x);
      for (size_t count = 0; count <= x.size(); ++count) {
        std::vector<double> some(x.begin(), x.begin() + static_cast<int64_t>(count));
        some.push_back(-5);
        function(some.data(), some.data(), static_cast<int64_t>(count));
        EXPECT_EQ(some.back(), -5) << "written past the end";
        EXPECT_EQ(std::memcmp(some.data(), all.data(), 8 * count), 0) << target << " of " << count;
      }
    }
  }
}

TEST_F(Math64, TheScalarFormsEqualTheArrayForms) {
  for (const double x : Uniform(0.1, 30, 50)) {
    EXPECT_EQ(Exp(x), Of(Exp, {x})[0]);
    EXPECT_EQ(Log(x), Of(Log, {x})[0]);
  }
}

}  // namespace
}  // namespace scalpel::kernels
