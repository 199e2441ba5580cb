// Assembles tensors from the chunks of a stream, and checks everything that the chunks claim.

#ifndef SCALPEL_CLIENT_CPP_TENSORS_H_
#define SCALPEL_CLIENT_CPP_TENSORS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/scalpel/v1/tensor.pb.h"

namespace scalpel::client {

// A complete tensor.
struct StreamedTensor {
  v1::TensorHeader header;
  std::string data;  // header.size_bytes bytes
};

// Assembles the tensors of one response stream. After an error it must not be used any more. Not
// thread-safe.
class TensorAssembler {
 public:
  static constexpr uint64_t kTensorBytesMax = uint64_t{4} << 30;
  static constexpr size_t kTensorsMax = 1'000'000;

  explicit TensorAssembler(uint64_t tensor_bytes_max = kTensorBytesMax)
      : tensor_bytes_max_(tensor_bytes_max) {}

  // Adds the next chunk in order. Returns the tensor if the chunk completes it, and otherwise
  // nullopt. An error says how the chunk violates the protocol.
  absl::StatusOr<std::optional<StreamedTensor>> Add(const v1::TensorChunk& chunk);

  // To be called at the end of the stream. Returns an error if a tensor is incomplete.
  absl::Status Finish() const;

 private:
  absl::Status Begin(const v1::TensorChunk& chunk);

  const uint64_t tensor_bytes_max_;
  std::optional<StreamedTensor> open_;
  std::unordered_set<uint32_t> seen_;
};

// Returns the type and shape, as in `float32 [1, 13, 768]`.
std::string ShapeText(const v1::TensorHeader& header);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_TENSORS_H_
