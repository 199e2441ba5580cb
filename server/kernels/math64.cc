#include "server/kernels/math64.h"

#include "server/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/math64.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>

#include "server/kernels/math64-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <Vec64 (*kFunction)(Vec64)>
HWY_INLINE void ForEach64(const double* x, double* y, int64_t count) {
  const Tag64 d;
  int64_t i = 0;
  for (; i + kDoubles <= count; i += kDoubles) hn::StoreU(kFunction(hn::LoadU(d, x + i)), d, y + i);
  if (i == count) return;
  HWY_ALIGN double rest[kDoubles] = {};
  std::copy(x + i, x + count, rest);
  hn::Store(kFunction(hn::Load(d, rest)), d, rest);
  std::copy_n(rest, count - i, y + i);
}

void ExpOf(const double* x, double* y, int64_t count) { ForEach64<Exp64>(x, y, count); }
void LogOf(const double* x, double* y, int64_t count) { ForEach64<Log64>(x, y, count); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace scalpel::kernels {
namespace {

HWY_EXPORT(ExpOf);
HWY_EXPORT(LogOf);

}  // namespace

void Exp(const double* x, double* y, int64_t count) { HWY_DYNAMIC_DISPATCH(ExpOf)(x, y, count); }
void Log(const double* x, double* y, int64_t count) { HWY_DYNAMIC_DISPATCH(LogOf)(x, y, count); }

double Exp(double x) {
  Exp(&x, &x, 1);
  return x;
}

double Log(double x) {
  Log(&x, &x, 1);
  return x;
}

}  // namespace scalpel::kernels

#endif  // HWY_ONCE
