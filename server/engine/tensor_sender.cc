#include "server/engine/tensor_sender.h"

#include <limits>
#include <memory>
#include <utility>

namespace scalpel::engine {
namespace {

at::ScalarType ToScalarType(v1::DataType dtype) {
  switch (dtype) {
    case v1::DATA_TYPE_FLOAT16:
      return at::kHalf;
    case v1::DATA_TYPE_BFLOAT16:
      return at::kBFloat16;
    default:
      return at::kFloat;
  }
}

v1::DataType ToDataType(at::ScalarType type) {
  switch (type) {
    case at::kHalf:
      return v1::DATA_TYPE_FLOAT16;
    case at::kBFloat16:
      return v1::DATA_TYPE_BFLOAT16;
    default:
      return v1::DATA_TYPE_FLOAT32;
  }
}

// Which bfloat16 ATen makes of a NaN depends on the CPU, and on its place in the tensor.
at::Tensor WithOneNan(at::Tensor host) {
  if (host.scalar_type() == at::kBFloat16)
    host.masked_fill_(host.isnan(), std::numeric_limits<double>::quiet_NaN());
  return host;
}

// Whether the tensor's bytes are what leaves, and keep nothing else alive.
bool IsWhatLeaves(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.is_cpu() && tensor.scalar_type() == type && tensor.is_contiguous() &&
         tensor.storage().nbytes() == tensor.nbytes();
}

}  // namespace

at::Tensor ToHost(const at::Tensor& tensor, v1::DataType dtype, Future future) {
  const at::ScalarType type = ToScalarType(dtype);
  if (future == Future::kFinal && IsWhatLeaves(tensor, type)) return tensor;
  return WithOneNan(tensor.to(at::kCPU, type, /*non_blocking=*/false, /*copy=*/true,
                              at::MemoryFormat::Contiguous));
}

at::Tensor BatchToHost(absl::Span<const at::Tensor> rows, v1::DataType dtype, Future future) {
  if (rows.size() == 1) return ToHost(rows[0].unsqueeze(0), dtype, future);
  std::vector<int64_t> shape = rows[0].sizes().vec();
  shape.insert(shape.begin(), static_cast<int64_t>(rows.size()));
  const at::Tensor host = at::empty(shape, at::TensorOptions(ToScalarType(dtype)));
  for (size_t i = 0; i < rows.size(); ++i) host.select(0, static_cast<int64_t>(i)).copy_(rows[i]);
  return WithOneNan(host);
}

TensorEvent TensorSender::Prepare(v1::TensorHeader header, at::Tensor host) {
  header.set_tensor_id(next_id_++);
  header.set_dtype(ToDataType(host.scalar_type()));
  for (const int64_t size : host.sizes()) header.add_shape(size);
  header.set_size_bytes(host.nbytes());
  const std::string_view bytes(static_cast<const char*>(host.const_data_ptr()), host.nbytes());
  return {std::move(header), bytes, std::make_shared<const at::Tensor>(std::move(host))};
}

void TensorSender::Send(TensorEvent event) {
  bytes_sent_ += static_cast<int64_t>(event.bytes.size());
  Event out;
  out.tensor = std::move(event);
  sink_.Push(std::move(out));
}

void TensorSender::Flush() {
  for (TensorEvent& event : deferred_) Send(std::move(event));
  deferred_.clear();
}

}  // namespace scalpel::engine
