// Takes tensors off the device and hands them to the stream, numbered.
//
// A tensor leaves as it is, without a copy, where it is final and is what the wire takes: of the
// asked type, contiguous, on the CPU, and the whole of its storage, so that what waits for a slow
// reader is never more than what was reserved for it. Every other tensor is copied once, into what
// leaves.

#ifndef SCALPEL_SERVER_ENGINE_TENSOR_SENDER_H_
#define SCALPEL_SERVER_ENGINE_TENSOR_SENDER_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "server/engine/event_stream.h"
#include "server/model/tensor.h"

namespace scalpel::engine {

// What becomes of a tensor's storage after it was given to be sent.
enum class Future {
  // It is not written to any more: the answer's logits; the attention pattern, once its visit's
  // steps are done; what was gathered from elsewhere to be sent.
  kFinal,
  // It may be written to: the residual stream above all, which later sites edit in place.
  kChanges,
};

// `tensor` as it leaves: itself where the rule above lets it, else a copy.
at::Tensor ToHost(const at::Tensor& tensor, v1::DataType dtype, Future future);
// The same of tensors of one shape, along a new first axis.
at::Tensor BatchToHost(absl::Span<const at::Tensor> rows, v1::DataType dtype, Future future);

// One for each response stream; used by the engine's thread only.
class TensorSender {
 public:
  explicit TensorSender(EventSink& sink) : sink_(sink) {}

  // `host` is what these gave, and is kept alive by the event; several events may show one. Fills
  // in the header's id, type, shape and size.
  TensorEvent Prepare(v1::TensorHeader header, at::Tensor host);

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
