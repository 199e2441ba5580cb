// exp and log of vectors of doubles, at most 1 ulp from the true value and with the same bits on
// every target: they use only operations that are exact or correctly rounded on all of them. Log64
// follows the scheme of FDLIBM's e_log.c.
//
// Include it after hwy/highway.h, in a file that hwy/foreach_target.h compiles for each target.

#if defined(SCALPEL_SERVER_KERNELS_MATH64_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALPEL_SERVER_KERNELS_MATH64_INL_H_
#undef SCALPEL_SERVER_KERNELS_MATH64_INL_H_
#else
#define SCALPEL_SERVER_KERNELS_MATH64_INL_H_
#endif

#include <cstdint>
#include <limits>

#include "server/kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {

// ln 2 in two parts. The first has 42 significant bits, so that its product with an exponent, of at
// most 11 bits, is exact.
inline constexpr double kLn2High = 0x1.62e42fefa38p-1, kLn2Low = 0x1.ef35793c7673p-45;

HWY_INLINE Vec64 Constant64(double value) { return hwy::HWY_NAMESPACE::Set(Tag64(), value); }

// c[0] + c[1] x + c[2] x^2 + ..., by Horner's rule with fused multiply-adds.
template <size_t kCount>
HWY_INLINE Vec64 Polynomial64(Vec64 x, const double (&c)[kCount]) {
  Vec64 sum = Constant64(c[kCount - 1]);
  for (size_t i = kCount - 1; i-- > 0;) sum = Fma(sum, x, Constant64(c[i]));
  return sum;
}

// `result`, but the default quiet NaN where x is NaN, because the bits of a NaN that an operation
// makes depend on the CPU. Eq(x, x) is the test since Highway 1.0.3's Ne(x, x) is false for NaN on
// some targets.
HWY_INLINE Vec64 NanLike(Vec64 x, Vec64 result) {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::IfThenElse(hn::Eq(x, x), result, Constant64(std::numeric_limits<double>::quiet_NaN()));
}

// 2^k, where the low bits of `biased` hold k + 1023, within [1, 2046].
HWY_INLINE Vec64 PowerOfTwo(Vec64 biased) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<Tag64> bits;
  return hn::BitCast(Tag64(), hn::ShiftLeft<52>(hn::BitCast(bits, biased)));
}

// e^x. Subnormal results are rounded only once, too.
HWY_INLINE Vec64 Exp64(Vec64 x) {
  namespace hn = hwy::HWY_NAMESPACE;
  // Coefficients of e^r for |r| <= ln 2 / 2, from degree 0. The first three are exact; the others
  // approximate (e^r - 1 - r - r^2 / 2) / r^3.
  static constexpr double kTerms[] = {1,
                                      1,
                                      0.5,
                                      0x1.5555555555556p-3,
                                      0x1.5555555555556p-5,
                                      0x1.11111111109b3p-7,
                                      0x1.6c16c16c15dc6p-10,
                                      0x1.a01a01a7c437ap-13,
                                      0x1.a01a01a9366e0p-16,
                                      0x1.71de0dae0c207p-19,
                                      0x1.27e4d4d34ac97p-22,
                                      0x1.af38aa6742517p-26,
                                      0x1.1f7f28f2c00ddp-29};
  // For |x| > kFar every result is infinite or zero.
  constexpr double kFar = 1000;
  // Adding kRound to a small number rounds it to an integer, which then is in the low bits of the
  // sum.
  constexpr double kRound = 0x1.8p52, kRoundBiased = kRound + 1023;

  // x = k ln 2 + r.
  const Vec64 k =
      hn::Sub(Fma(x, Constant64(0x1.71547652b82fep0), Constant64(kRound)), Constant64(kRound));
  const Vec64 r = Fma(k, Constant64(-kLn2Low), Fma(k, Constant64(-kLn2High), x));
  // Multiplies by 2^k in two factors, because 2^k itself may be out of range. Only the second
  // multiplication can round.
  const Vec64 half = Fma(k, Constant64(0.5), Constant64(kRoundBiased));
  const Vec64 rest =
      hn::Add(hn::Sub(k, hn::Sub(half, Constant64(kRoundBiased))), Constant64(kRoundBiased));
  Vec64 y = hn::Mul(hn::Mul(Polynomial64(r, kTerms), PowerOfTwo(half)), PowerOfTwo(rest));
  y = hn::IfThenElse(hn::Gt(x, Constant64(kFar)),
                     Constant64(std::numeric_limits<double>::infinity()), y);
  y = hn::IfThenElse(hn::Lt(x, Constant64(-kFar)), hn::Zero(Tag64()), y);
  return NanLike(x, y);
}

// The natural logarithm. It is -infinity for zeros of both signs and NaN for negative x.
HWY_INLINE Vec64 Log64(Vec64 x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const Tag64 d;
  const hn::RebindToUnsigned<Tag64> bits;
  // Coefficients, in powers of s^2, of (log((1 + s) / (1 - s)) / s - 2) / s^2, where 1 + f = (1 +
  // s) / (1 - s) is in [sqrt(1/2), sqrt(2)].
  static constexpr double kTerms[] = {
      0x1.5555555555558p-1, 0x1.9999999995223p-2, 0x1.2492492e03ec8p-2, 0x1.c71c62d035b0ap-3,
      0x1.7462ba29e76a7p-3, 0x1.39fdb9147f73cp-3, 0x1.2b5fc0e2e8c57p-3};
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr uint64_t kSqrtHalf = 0x3fe6a09e667f3bcd, kOne = 0x3ff0000000000000;

  // x = 2^k (1 + f). Subnormal numbers are scaled to normal ones first.
  const auto small = hn::Lt(x, Constant64(0x1p-1022));
  const Vec64 normal = hn::IfThenElse(small, hn::Mul(x, Constant64(0x1p54)), x);
  const auto shifted = hn::Add(hn::BitCast(bits, normal), hn::Set(bits, kOne - kSqrtHalf));
  const auto mantissa = hn::And(shifted, hn::Set(bits, 0x000fffffffffffff));
  const Vec64 f =
      hn::Sub(hn::BitCast(d, hn::Add(mantissa, hn::Set(bits, kSqrtHalf))), Constant64(1));
  // Converts the exponent to double through the low bits of 2^52, because not every target can
  // convert 64-bit integers.
  const auto exponent = hn::Or(hn::ShiftRight<52>(shifted), hn::Set(bits, 0x4330000000000000));
  const Vec64 bias =
      hn::IfThenElse(small, Constant64(0x1p52 + 1023 + 54), Constant64(0x1p52 + 1023));
  const Vec64 k = hn::Sub(hn::BitCast(d, exponent), bias);

  // log(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + R)). What is subtracted from f is small beside it, so
  // its rounding errors are too.
  const Vec64 s = hn::Div(f, hn::Add(Constant64(2), f)), square = hn::Mul(s, s);
  const Vec64 series = hn::Mul(square, Polynomial64(square, kTerms));
  const Vec64 half_square = hn::Mul(hn::Mul(f, f), Constant64(0.5));
  const Vec64 correction = Fma(s, hn::Add(half_square, series), hn::Mul(k, Constant64(kLn2Low)));
  Vec64 y = hn::Add(hn::Mul(k, Constant64(kLn2High)), hn::Sub(f, hn::Sub(half_square, correction)));
  y = hn::IfThenElse(hn::Eq(x, Constant64(kInfinity)), x, y);
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), Constant64(-kInfinity), y);
  y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), Constant64(std::numeric_limits<double>::quiet_NaN()),
                     y);
  return NanLike(x, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
