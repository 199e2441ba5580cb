// Takes tensors off the device and hands them to the stream, numbered.

#ifndef SCALPEL_SERVER_ENGINE_TENSOR_SENDER_H_
#define SCALPEL_SERVER_ENGINE_TENSOR_SENDER_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "server/engine/event_stream.h"

namespace scalpel::engine {

// One for each response stream; used by the engine's thread only.
class TensorSender {
 public:
  explicit TensorSender(EventSink& sink) : sink_(sink) {}

  // Copies `tensor` to the host as header.dtype(), and fills in the header's id, shape and size.
  TensorEvent Prepare(v1::TensorHeader header, const at::Tensor& tensor);

  // Sends at the next Flush.
  void Defer(TensorEvent event) { deferred_.push_back(std::move(event)); }
  void Send(TensorEvent event);
  void Flush();

  int64_t bytes_sent() const { return bytes_sent_; }

 private:
  EventSink& sink_;
  std::vector<TensorEvent> deferred_;
  uint32_t next_id_ = 0;
  int64_t bytes_sent_ = 0;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_TENSOR_SENDER_H_
