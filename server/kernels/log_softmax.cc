#include "server/kernels/log_softmax.h"

#include "server/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/log_softmax.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "server/kernels/lanes-inl.h"
#include "server/kernels/math64.h"
#include "server/kernels/moments.h"
#include "server/kernels/nan.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

struct Exponentials {
  HWY_INLINE explicit Exponentials(double subtracted)
      : shift(hn::Set(Tag64(), subtracted)), sum(hn::Zero(Tag64())) {}
  HWY_INLINE void Take(Vec64 x) { sum = hn::Add(sum, Exp64(hn::Sub(x, shift))); }
  Vec64 shift, sum;
};

struct Divergence {
  HWY_INLINE Divergence() : sum(hn::Zero(Tag64())) {}
  HWY_INLINE void Take(Vec64 p, Vec64 log_p, Vec64 log_q) {
    const auto impossible = hn::Eq(p, hn::Zero(Tag64()));
    sum = hn::Add(sum, hn::IfThenZeroElse(impossible, hn::Mul(p, hn::Sub(log_p, log_q))));
  }
  Vec64 sum;
};

// Returns the sum of e^(x - shift).
double SumOfExp(const float* x, int64_t count, double shift) {
  Bank<Exponentials> bank{Exponentials(shift)};
  TakeAll(bank, count, -std::numeric_limits<double>::infinity(), x);
  return Total(bank, &Exponentials::sum);
}

double DivergenceHere(const double* p, const double* log_p, const double* log_q, int64_t count) {
  Bank<Divergence> bank{Divergence()};
  TakeAll(bank, count, 0, p, log_p, log_q);
  return Total(bank, &Divergence::sum);
}

// Writes y = x - subtracted, in double precision.
void SubtractHere(const float* x, double subtracted, double* y, int64_t count) {
  const Vec64 shift = hn::Set(Tag64(), subtracted);
  const auto one = [&](const auto* from, double* to) HWY_ATTR {
    const Vec64 difference = hn::Sub(Load64(from), shift);
    hn::StoreU(NanLike(difference, difference), Tag64(), to);
  };
  int64_t i = 0;
  for (; i + kDoubles <= count; i += kDoubles) one(x + i, y + i);
  if (i == count) return;
  double rest[kLanes];
  one(Padded(x + i, count - i, 0).lanes, rest);
  std::copy_n(rest, count - i, y + i);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace scalpel::kernels {
namespace {

HWY_EXPORT(SumOfExp);
HWY_EXPORT(DivergenceHere);
HWY_EXPORT(SubtractHere);

}  // namespace

double LogSumExp(const float* x, int64_t count) {
  const double max = ExtremesOf(x, count).max;
  if (!std::isfinite(max)) return max;
  return max + Log(HWY_DYNAMIC_DISPATCH(SumOfExp)(x, count, max));
}

void LogSoftmax(const float* x, double* log_p, int64_t count) {
  HWY_DYNAMIC_DISPATCH(SubtractHere)(x, LogSumExp(x, count), log_p, count);
}

double KlDivergence(const double* p, const double* log_p, const double* log_q, int64_t count) {
  return OneNan(HWY_DYNAMIC_DISPATCH(DivergenceHere)(p, log_p, log_q, count));
}

}  // namespace scalpel::kernels

#endif  // HWY_ONCE
