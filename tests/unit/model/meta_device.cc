// Operations on libtorch's meta device, for gpt2_test.cc: they are there as soon as this is linked.

#include <torch/library.h>

#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "server/model/tensor.h"

namespace scalpel::model {
namespace {

// libtorch has their shapes in Python only.
at::Tensor MetaIndexSelect(const at::Tensor& x, int64_t dim, const at::Tensor& index) {
  TORCH_CHECK(index.is_meta(), "an index on another device");
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.at(dim) = index.numel();
  return at::empty(sizes, x.options());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> MetaLayerNorm(const at::Tensor& x,
                                                             c10::SymIntArrayRef,
                                                             const std::optional<at::Tensor>& gain,
                                                             const std::optional<at::Tensor>& bias,
                                                             double) {
  TORCH_CHECK(gain->is_meta() && bias->is_meta(), "weights on another device");
  const at::Tensor moment = at::empty({x.size(0), 1}, x.options());
  return {at::empty_like(x), moment, at::empty_like(moment)};
}

TORCH_LIBRARY_IMPL(aten, Meta, library) {
  library.impl("index_select", &MetaIndexSelect);
  library.impl("native_layer_norm", &MetaLayerNorm);
}

}  // namespace
}  // namespace scalpel::model
