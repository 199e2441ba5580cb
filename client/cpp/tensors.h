// Puts a stream's tensor chunks together, and believes nothing that they say of themselves.

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

// A whole tensor.
struct StreamedTensor {
  v1::TensorHeader header;
  std::string data;  // header.size_bytes bytes
};

// Takes the chunks of one response stream in order. Not thread-safe. After an error it is of no
// further use.
class TensorAssembler {
 public:
  static constexpr uint64_t kTensorBytesMax = uint64_t{4} << 30;
  static constexpr size_t kTensorsMax = 1'000'000;

  explicit TensorAssembler(uint64_t tensor_bytes_max = kTensorBytesMax)
      : tensor_bytes_max_(tensor_bytes_max) {}

  // The tensor that the chunk completes, or nothing yet. An error says how the chunk breaks the
  // contract.
  absl::StatusOr<std::optional<StreamedTensor>> Add(const v1::TensorChunk& chunk);

  // At the end of the stream: an error if a tensor is incomplete.
  absl::Status Finish() const;

 private:
  absl::Status Begin(const v1::TensorChunk& chunk);

  const uint64_t tensor_bytes_max_;
  std::optional<StreamedTensor> open_;
  std::unordered_set<uint32_t> seen_;
};

// `float32 [1, 13, 768]`.
std::string ShapeText(const v1::TensorHeader& header);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_TENSORS_H_
