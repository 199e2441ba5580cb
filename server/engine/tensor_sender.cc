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

}  // namespace

TensorEvent TensorSender::Prepare(v1::TensorHeader header, const at::Tensor& tensor) {
  if (header.dtype() == v1::DATA_TYPE_UNSPECIFIED) header.set_dtype(v1::DATA_TYPE_FLOAT32);
  // A copy in any case: the activations are written to after this.
  auto host = std::make_shared<at::Tensor>(tensor.to(at::kCPU, ToScalarType(header.dtype()),
                                                     /*non_blocking=*/false, /*copy=*/true,
                                                     at::MemoryFormat::Contiguous));
  // Which bfloat16 ATen makes of a NaN depends on the CPU, and on its place in the tensor.
  if (host->scalar_type() == at::kBFloat16)
    host->masked_fill_(host->isnan(), std::numeric_limits<double>::quiet_NaN());
  header.set_tensor_id(next_id_++);
  for (const int64_t size : host->sizes()) header.add_shape(size);
  header.set_size_bytes(host->nbytes());
  const std::string_view bytes(static_cast<const char*>(host->const_data_ptr()), host->nbytes());
  return {std::move(header), bytes, std::move(host)};
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
