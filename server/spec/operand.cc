#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/spec/compile.h"

namespace scalpel::spec {
namespace {

constexpr int kRankMax = 4;

std::optional<at::ScalarType> ToScalarType(v1::DataType dtype) {
  switch (dtype) {
    case v1::DATA_TYPE_UNSPECIFIED:
    case v1::DATA_TYPE_FLOAT32:
      return at::kFloat;
    case v1::DATA_TYPE_FLOAT16:
      return at::kHalf;
    case v1::DATA_TYPE_BFLOAT16:
      return at::kBFloat16;
    default:
      return std::nullopt;
  }
}

// The product of the shape, or nullopt after a violation. `available`: how many elements the
// request can possibly hold.
std::optional<int64_t> CountElements(Compilation& c, const v1::Tensor& tensor, int64_t available,
                                     absl::string_view field) {
  if (tensor.shape_size() > kRankMax) {
    c.violations.Add(absl::StrCat(field, ".shape"),
                     absl::StrCat("has ", tensor.shape_size(), " axes, at most ", kRankMax));
    return std::nullopt;
  }
  int64_t product = 1;
  for (int i = 0; i < tensor.shape_size(); ++i) {
    if (tensor.shape(i) < 1) {
      c.violations.Add(absl::StrCat(field, ".shape[", i, "]"),
                       absl::StrCat(tensor.shape(i), " is below 1"));
      return std::nullopt;
    }
    if (__builtin_mul_overflow(product, tensor.shape(i), &product) ||
        product > c.limits->max_request_bytes()) {
      c.violations.Add(absl::StrCat(field, ".shape"), "has more elements than a request can hold");
      return std::nullopt;
    }
  }
  if (product != available) {
    c.violations.Add(field, absl::StrCat("shape [", absl::StrJoin(tensor.shape(), ", "), "] has ",
                                         product, " elements, but ", available, " are given"));
    return std::nullopt;
  }
  return product;
}

at::Tensor DecodeValues(Compilation& c, const v1::Tensor& tensor, absl::string_view field) {
  if (tensor.dtype() != v1::DATA_TYPE_UNSPECIFIED && tensor.dtype() != v1::DATA_TYPE_FLOAT32) {
    c.violations.Add(absl::StrCat(field, ".dtype"),
                     "`values` are float32; leave `dtype` out, or give `data`");
    return {};
  }
  std::vector<int64_t> shape(tensor.shape().begin(), tensor.shape().end());
  if (shape.empty())
    shape = {tensor.values_size()};
  else if (!CountElements(c, tensor, tensor.values_size(), field))
    return {};
  at::Tensor decoded = at::empty(shape, at::kFloat);
  std::memcpy(decoded.data_ptr(), tensor.values().data(), tensor.values_size() * sizeof(float));
  return decoded;
}

at::Tensor DecodeData(Compilation& c, const v1::Tensor& tensor, absl::string_view field) {
  const auto type = ToScalarType(tensor.dtype());
  if (!type) {
    c.violations.Add(absl::StrCat(field, ".dtype"),
                     absl::StrCat(static_cast<int>(tensor.dtype()), " is not a data type"));
    return {};
  }
  const int64_t element_bytes = static_cast<int64_t>(c10::elementSize(*type));
  const int64_t bytes = static_cast<int64_t>(tensor.data().size());
  if (tensor.shape().empty()) {
    c.violations.Add(absl::StrCat(field, ".shape"), "is required with `data`");
    return {};
  }
  if (bytes % element_bytes != 0) {
    c.violations.Add(
        absl::StrCat(field, ".data"),
        absl::StrCat(bytes, " bytes are not a whole number of ", element_bytes, "-byte elements"));
    return {};
  }
  if (!CountElements(c, tensor, bytes / element_bytes, field)) return {};
  at::Tensor decoded =
      at::empty(std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end()), *type);
  std::memcpy(decoded.data_ptr(), tensor.data().data(), bytes);
  return decoded.to(at::kFloat);
}

}  // namespace

at::Tensor DecodeTensor(Compilation& c, const v1::Tensor& tensor, absl::string_view field) {
  if (tensor.data().empty() == tensor.values().empty()) {
    c.violations.Add(field, "give exactly one of `data` and `values`, and not empty");
    return {};
  }
  at::Tensor decoded =
      tensor.data().empty() ? DecodeValues(c, tensor, field) : DecodeData(c, tensor, field);
  if (!decoded.defined() || c.request.allow_non_finite()) return decoded;
  const absl::Span<const float> numbers(decoded.const_data_ptr<float>(), decoded.numel());
  absl::string_view wrong;
  if (!std::all_of(numbers.begin(), numbers.end(), [](float x) { return std::isfinite(x); })) {
    wrong = "that are not finite";
  } else if (std::any_of(numbers.begin(), numbers.end(),
                         [](float x) { return std::fpclassify(x) == FP_SUBNORMAL; })) {
    wrong = "below float32's normal range";
  } else {
    return decoded;
  }
  c.violations.Add(
      field, absl::StrCat("holds numbers ", wrong, "; set `allow_non_finite` if they are meant"));
  return {};
}

}  // namespace scalpel::spec
