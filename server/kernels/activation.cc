#include "server/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/activation.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>

#include "server/kernels/activation.h"
#include "server/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

Vec64 Constant(double value) { return hn::Set(Tag64(), value); }

// Applies a function of doubles and rounds the result to float. NaN stays NaN.
template <class Function>
HWY_INLINE NarrowVec Plain(NarrowVec x, Function function) {
  const NarrowVec value = Rounded(function(hn::PromoteTo(Tag64(), x)));
  return hn::IfThenElse(hn::IsNaN(x), x, value);
}

// As Plain, for a function of the form x f(x) where f rises from 0 to 1. As in libtorch, infinity
// gives infinity, and minus infinity gives NaN, for it is multiplied by 0.
template <class Function>
HWY_INLINE NarrowVec Gated(NarrowVec x, Function function) {
  const Narrow d;
  const auto finite = hn::Lt(hn::Abs(x), hn::Inf(d));
  const NarrowVec value = Rounded(function(hn::PromoteTo(Tag64(), hn::IfThenElseZero(finite, x))));
  return hn::IfThenElse(finite, value, hn::Add(x, hn::Abs(x)));
}

// x / (1 + 2^t).
HWY_INLINE Vec64 OverOnePlusExp2(Vec64 x, Vec64 t) {
  return hn::Div(x, hn::Add(Exp2(Tag64(), t), Constant(1)));
}

struct GeluNew {  // 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u))
  NarrowVec operator()(NarrowVec x) const {
    return Gated(x, [](Vec64 w) HWY_ATTR {
      constexpr double kScale = -2 * 0.79788456080286535588 * kLog2E;  // sqrt(2 / pi)
      const Vec64 cubic = Fma(hn::Mul(w, w), Constant(kScale * 0.044715), Constant(kScale));
      return OverOnePlusExp2(w, hn::Mul(w, cubic));
    });
  }
};

struct QuickGelu {
  NarrowVec operator()(NarrowVec x) const {
    return Gated(x, [](Vec64 w) HWY_ATTR {
      return OverOnePlusExp2(w, hn::Mul(w, Constant(-1.702 * kLog2E)));
    });
  }
};

struct Silu {
  NarrowVec operator()(NarrowVec x) const {
    return Gated(
        x, [](Vec64 w) HWY_ATTR { return OverOnePlusExp2(w, hn::Mul(w, Constant(-kLog2E))); });
  }
};

struct Sigmoid {
  NarrowVec operator()(NarrowVec x) const {
    return Plain(x, [](Vec64 w) HWY_ATTR {
      return OverOnePlusExp2(Constant(1), hn::Mul(w, Constant(-kLog2E)));
    });
  }
};

struct Gelu {  // x Phi(x)
  NarrowVec operator()(NarrowVec x) const {
    return Gated(x, [](Vec64 w) HWY_ATTR {
      const Vec64 half = hn::Mul(w, Constant(0.5));
      return hn::Mul(half, Erfc(Tag64(), hn::Mul(w, Constant(-0.70710678118654752440))));
    });
  }
};

struct Gelu10 {
  NarrowVec operator()(NarrowVec x) const {
    const Narrow d;
    const NarrowVec y = Gelu()(x), low = hn::Set(d, -10.0f), high = hn::Set(d, 10.0f);
    const NarrowVec above = hn::IfThenElse(hn::Lt(y, low), low, y);  // NaN stays
    return hn::IfThenElse(hn::Gt(above, high), high, above);
  }
};

struct Mish {  // tanh(log(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2), e = exp(x)
  NarrowVec operator()(NarrowVec x) const {
    return Gated(x, [](Vec64 w) HWY_ATTR {
      const Vec64 e = ExpD(Tag64(), hn::Min(w, Constant(30)));  // above 30 the quotient is 1
      const Vec64 above = hn::Mul(e, hn::Add(e, Constant(2)));
      return hn::Mul(w, hn::Div(above, hn::Add(above, Constant(2))));
    });
  }
};

struct TanhOf {
  NarrowVec operator()(NarrowVec x) const {
    return Plain(x, [](Vec64 w) HWY_ATTR { return Tanh(Tag64(), w); });
  }
};

struct Laplace {  // 0.5 (1 + erf(z)) = 0.5 erfc(-z)
  NarrowVec operator()(NarrowVec x) const {
    return Plain(x, [](Vec64 w) HWY_ATTR {
      const Vec64 z =
          hn::Div(hn::Sub(Constant(0.707107), w), Constant(0.282095 * 1.4142135623730951));
      return hn::Mul(Constant(0.5), Erfc(Tag64(), z));
    });
  }
};

struct Relu {
  NarrowVec operator()(NarrowVec x) const {
    const NarrowVec zero = hn::Zero(Narrow());
    return hn::IfThenElse(hn::Lt(x, zero), zero, x);  // NaN stays
  }
};

struct Relu2 {
  NarrowVec operator()(NarrowVec x) const {
    const NarrowVec y = Relu()(x);
    return hn::Mul(y, y);
  }
};

struct Relu6 {
  NarrowVec operator()(NarrowVec x) const {
    const NarrowVec six = hn::Set(Narrow(), 6.0f), y = Relu()(x);
    return hn::IfThenElse(hn::Gt(y, six), six, y);
  }
};

struct LeakyRelu {
  NarrowVec operator()(NarrowVec x) const {
    const NarrowVec y = hn::Mul(x, hn::Set(Narrow(), 0.01f));
    return hn::IfThenElse(hn::Lt(x, hn::Zero(Narrow())), y, x);
  }
};

// Applies Function to all elements, the last few by way of a padded vector.
template <class Function>
void Map(const float* x, float* y, int64_t count) {
  const Function function;
  const Narrow d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(function(hn::LoadU(d, x + i)), d, y + i);
  if (i == count) return;
  HWY_ALIGN float rest[hn::MaxLanes(d)] = {};
  for (int64_t j = i; j < count; ++j) rest[j - i] = x[j];
  hn::Store(function(hn::Load(d, rest)), d, rest);
  for (int64_t j = i; j < count; ++j) y[j] = rest[j - i];
}

void ActivateAll(Activation activation, const float* x, float* y, int64_t count) {
  switch (activation) {
    case Activation::kGeluNew:
      return Map<GeluNew>(x, y, count);
    case Activation::kGelu:
      return Map<Gelu>(x, y, count);
    case Activation::kGelu10:
      return Map<Gelu10>(x, y, count);
    case Activation::kQuickGelu:
      return Map<QuickGelu>(x, y, count);
    case Activation::kRelu:
      return Map<Relu>(x, y, count);
    case Activation::kRelu2:
      return Map<Relu2>(x, y, count);
    case Activation::kRelu6:
      return Map<Relu6>(x, y, count);
    case Activation::kLeakyRelu:
      return Map<LeakyRelu>(x, y, count);
    case Activation::kSilu:
      return Map<Silu>(x, y, count);
    case Activation::kMish:
      return Map<Mish>(x, y, count);
    case Activation::kTanh:
      return Map<TanhOf>(x, y, count);
    case Activation::kSigmoid:
      return Map<Sigmoid>(x, y, count);
    case Activation::kLaplace:
      return Map<Laplace>(x, y, count);
    case Activation::kLinear:
      if (x != y) std::copy_n(x, count, y);
      return;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace scalpel::kernels {
namespace {

HWY_EXPORT(ActivateAll);

}  // namespace

void Activate(Activation activation, const float* x, float* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(ActivateAll)(activation, x, y, count);
}

}  // namespace scalpel::kernels

#endif  // HWY_ONCE
