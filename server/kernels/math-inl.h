// Elementary functions on vectors. They are polynomials of our own rather than a library's because
// every step must be an operation that IEEE 754 rounds in exactly one way: then all targets give
// the same bits. Include this file as vectors-inl.h.
//
// The coefficients are Chebyshev expansions, computed with 50 digits, of a degree that gives the
// error stated at each function.

#if defined(SCALPEL_SERVER_KERNELS_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALPEL_SERVER_KERNELS_MATH_INL_H_
#undef SCALPEL_SERVER_KERNELS_MATH_INL_H_
#else
#define SCALPEL_SERVER_KERNELS_MATH_INL_H_
#endif

#include <cstdint>

#include "server/kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {

// c0 + c1 x + c2 x^2 + ..., by Horner's rule with fused multiply-adds.
template <class V>
HWY_INLINE V Polynomial(V, double c) {
  return hwy::HWY_NAMESPACE::Set(hwy::HWY_NAMESPACE::DFromV<V>(),
                                 static_cast<hwy::HWY_NAMESPACE::TFromV<V>>(c));
}
template <class V, class... Cs>
HWY_INLINE V Polynomial(V x, double c, Cs... rest) {
  return Fma(x, Polynomial(x, rest...), Polynomial(x, c));
}

// exp(x) of floats, for x <= 88. The error is at most 1.04 ulp for x <= 0, which is all that a
// softmax needs. exp(0) is exactly 1, and exp(x) exactly 0 for x <= -104. NaN gives NaN.
HWY_INLINE Vec Exp(Vec x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const Vec least = hn::Set(d, -105.0f);
  const auto below = hn::Lt(x, least);
  const Vec clamped = hn::IfThenElse(below, least, x);
  // n = x / ln 2 rounded to the nearest integer: a float near 1.5 * 2^23 has no fraction bits, so
  // adding that number rounds.
  const Vec magic = hn::Set(d, 12582912.0f);
  const Vec shifted = Fma(clamped, hn::Set(d, 1.44269504088896341f), magic);
  const Vec n = hn::Sub(shifted, magic);
  Vec r = Fma(n, hn::Set(d, -0.693145751953125f), clamped);  // ln 2 in two parts, high first
  r = Fma(n, hn::Set(d, -1.42860682030941723e-6f), r);
  const Vec p = Polynomial(r, 0.5000000014291086, 0.16666573358081635, 0.041666456777923718,
                           0.0083637764666307936, 0.0013934544520014336);
  const Vec e = hn::Add(Fma(hn::Mul(r, r), p, r), hn::Set(d, 1.0f));
  // Multiplies by 2^n in two steps, because 2^n itself may be subnormal.
  const auto whole = hn::Sub(hn::BitCast(di, shifted), hn::BitCast(di, magic));
  const auto half = hn::ShiftRight<1>(whole), rest = hn::Sub(whole, half);
  const auto bias = hn::Set(di, 127);
  const Vec scale = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const Vec scale_rest = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(rest, bias)));
  return hn::IfThenZeroElse(below, hn::Mul(hn::Mul(e, scale), scale_rest));
}

// 2^x of doubles, with a relative error of 2^-34, enough for a result that is rounded to float. x
// is clamped to [-1000, 1000]. The result for NaN is an unspecified number: callers handle NaN
// themselves.
template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> Exp2(D d, hwy::HWY_NAMESPACE::Vec<D> x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToSigned<D> di;
  x = hn::Min(hn::Max(x, hn::Set(d, -1000.0)), hn::Set(d, 1000.0));
  const auto magic = hn::Set(d, 6755399441055744.0);  // 1.5 * 2^52
  const auto shifted = hn::Add(x, magic);
  const auto f = hn::Sub(x, hn::Sub(shifted, magic));
  const auto p = Polynomial(f, 0.99999999995954826, 0.69314718054593048, 0.24022651213595232,
                            0.055504109412154528, 0.0096180256029558373, 0.0013333450560384466,
                            0.00015469731977475548, 1.531008114313815e-5);
  // Adds n to the exponent of p. The low bits of `shifted` are n; the shift drops the others.
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<52>(hn::BitCast(di, shifted))));
}

inline constexpr double kLog2E = 1.4426950408889634;

// e^x of doubles, by Exp2.
template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> ExpD(D d, hwy::HWY_NAMESPACE::Vec<D> x) {
  namespace hn = hwy::HWY_NAMESPACE;
  return Exp2(d, hn::Mul(x, hn::Set(d, kLog2E)));
}

// erfc(x) of doubles, with a relative error of 2^-34. Expands (1 + 2x) exp(x^2) erfc(x) in (x -
// 3.75) / (x + 3.75), as in Shepherd and Laframboise, "Chebyshev Approximation of (1 + 2x) exp(x^2)
// erfc x in 0 <= x < infinity", Mathematics of Computation 36 (1981).
template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> Erfc(D d, hwy::HWY_NAMESPACE::Vec<D> x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto one = hn::Set(d, 1.0), k = hn::Set(d, 3.75);
  const auto z = hn::Min(hn::Abs(x), hn::Set(d, 30.0));
  const auto t = hn::Div(hn::Sub(z, k), hn::Add(z, k));
  const auto p = Polynomial(t, 1.2375126308119471, -0.1402405983702311, 0.0035854192293169858,
                            0.082276728160723762, -0.10880402028698347, 0.092304455661357055,
                            -0.05869256450489157, 0.028361568278444274, -0.0097503665033798818,
                            0.0017572739896736608, 0.00030290706240311687, -0.00029149163950098391,
                            3.9755230665695221e-5, 2.1808737373838905e-5, -4.0162526169371682e-6);
  const auto positive =
      hn::Mul(ExpD(d, hn::Neg(hn::Mul(z, z))), hn::Div(p, hn::Add(hn::Add(z, z), one)));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Sub(hn::Set(d, 2.0), positive), positive);
}

// tanh(x) of doubles, with a relative error of 2^-32. Near 0, where (1 - e) / (1 + e) cancels, an
// odd polynomial takes its place.
template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> Tanh(D d, hwy::HWY_NAMESPACE::Vec<D> x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto one = hn::Set(d, 1.0);
  const auto s = hn::Mul(x, x);
  const auto small =
      hn::Mul(x, Polynomial(s, 0.99999999999247543, -0.3333333303613098, 0.1333331411859648,
                            -0.053963576133016073, 0.021814863232457911, -0.0085309899869343194,
                            0.0025535013049217856));
  const auto e = ExpD(d, hn::Mul(hn::Abs(x), hn::Set(d, -2.0)));
  const auto large = hn::CopySign(hn::Div(hn::Sub(one, e), hn::Add(one, e)), x);
  return hn::IfThenElse(hn::Lt(hn::Abs(x), hn::Set(d, 0.5)), small, large);
}

}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
