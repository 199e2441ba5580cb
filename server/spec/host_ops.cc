#include "server/spec/host_ops.h"

#include <vector>

#include "server/kernels/moments.h"
#include "server/kernels/nan.h"
#include "server/kernels/threads.h"

namespace scalpel::spec {
namespace {

constexpr int64_t kFloatsOfPiece = 1 << 14;  // for fewer, waking a thread costs more than it saves

float Rounded(double x) { return kernels::OneNan(static_cast<float>(x)); }

}  // namespace

at::Tensor MeanOnHost(const at::Tensor& x, int64_t axis) {
  const int64_t count = x.size(axis);
  const at::Tensor by_index = x.movedim(axis, 0).reshape({count, -1}).contiguous();
  const int64_t elements = by_index.size(1);
  std::vector<double> sums(elements);
  const float* from = by_index.const_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t e = 0; e < elements; ++e) sums[e] += *from++;
  }
  std::vector<int64_t> shape = x.sizes().vec();
  shape[axis] = 1;
  at::Tensor means = at::empty(shape, at::kFloat);
  float* to = means.mutable_data_ptr<float>();
  for (const double sum : sums) *to++ = Rounded(sum / static_cast<double>(count));
  return means;
}

at::Tensor RescaleDirectionOnHost(const at::Tensor& x, const at::Tensor& direction, double factor) {
  const at::Tensor vectors = x.contiguous(), along = direction.contiguous(),
                   result = at::empty_like(vectors);
  const int64_t length = along.numel();
  const float *const from = vectors.const_data_ptr<float>(), *const u =
                                                                 along.const_data_ptr<float>();
  float* const to = result.mutable_data_ptr<float>();
  const double square = kernels::SumOfSquares(u, length);
  const auto one = [&](int64_t vector) {
    const float* in = from + vector * length;
    float* out = to + vector * length;
    const double change = (factor - 1) * (kernels::Dot(in, u, length) / square);
    for (int64_t i = 0; i < length; ++i) out[i] = Rounded(in[i] + change * u[i]);
  };
  kernels::ParallelFor(x.numel() / length, kFloatsOfPiece / length,
                       [&](int64_t begin, int64_t end) {
                         for (int64_t vector = begin; vector < end; ++vector) one(vector);
                       });
  return result;
}

}  // namespace scalpel::spec
