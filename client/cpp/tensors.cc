#include "client/cpp/tensors.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "client/cpp/spec_request.h"

namespace scalpel::client {
namespace {

absl::Status Broken(const v1::TensorChunk& chunk, absl::string_view how) {
  return absl::DataLossError(
      absl::StrCat("tensor ", chunk.tensor_id(), ", chunk at byte ", chunk.offset(), ": ", how));
}

uint64_t ElementBytes(v1::DataType dtype) {
  switch (dtype) {
    case v1::DATA_TYPE_UNSPECIFIED:  // means float32: see the proto
    case v1::DATA_TYPE_FLOAT32:
      return 4;
    case v1::DATA_TYPE_FLOAT16:
    case v1::DATA_TYPE_BFLOAT16:
      return 2;
    default:
      return 0;
  }
}

// Returns the size in bytes of a tensor of this type and shape; nullopt if the type or shape is
// invalid, or the size exceeds `bytes_max`.
std::optional<uint64_t> SizeOf(const v1::TensorHeader& header, uint64_t bytes_max) {
  uint64_t bytes = ElementBytes(header.dtype());
  for (const int64_t length : header.shape()) {
    if (length < 1 || bytes > bytes_max / static_cast<uint64_t>(length)) return std::nullopt;
    bytes *= static_cast<uint64_t>(length);
  }
  if (bytes == 0 || bytes > bytes_max) return std::nullopt;
  return bytes;
}

}  // namespace

absl::Status TensorAssembler::Begin(const v1::TensorChunk& chunk) {
  const v1::TensorHeader& header = chunk.header();
  if (!chunk.has_header()) return Broken(chunk, "no header has said what it is");
  if (header.tensor_id() != chunk.tensor_id()) {
    return Broken(chunk, "the header is of another tensor");
  }
  if (chunk.offset() != 0) return Broken(chunk, "a header comes with the first chunk, at byte 0");
  if (seen_.size() >= kTensorsMax) {
    return Broken(chunk, absl::StrCat("more than ", kTensorsMax, " tensors"));
  }
  if (!seen_.insert(chunk.tensor_id()).second) return Broken(chunk, "this tensor was sent before");
  const std::optional<uint64_t> size = SizeOf(header, tensor_bytes_max_);
  if (!size) {
    return Broken(chunk, absl::StrCat("type or shape is impossible, or above ", tensor_bytes_max_,
                                      " bytes: ", ShapeText(header)));
  }
  if (*size != header.size_bytes()) {
    return Broken(chunk, absl::StrCat(ShapeText(header), " has ", *size, " bytes, the header says ",
                                      header.size_bytes()));
  }
  open_ = StreamedTensor{header, {}};
  return absl::OkStatus();
}

absl::StatusOr<std::optional<StreamedTensor>> TensorAssembler::Add(const v1::TensorChunk& chunk) {
  if (open_) {
    if (open_->header.tensor_id() != chunk.tensor_id()) {
      return Broken(chunk,
                    absl::StrCat("tensor ", open_->header.tensor_id(), " is not complete yet"));
    }
    if (chunk.has_header()) return Broken(chunk, "a second header");
  } else if (const absl::Status status = Begin(chunk); !status.ok()) {
    return status;
  }
  if (chunk.offset() != open_->data.size()) {
    return Broken(chunk, absl::StrCat("it should start at byte ", open_->data.size()));
  }
  if (chunk.data().empty()) return Broken(chunk, "no data");
  if (chunk.data().size() > open_->header.size_bytes() - open_->data.size()) {
    return Broken(
        chunk, absl::StrCat("more data than the tensor's ", open_->header.size_bytes(), " bytes"));
  }
  // Not reserved beforehand, because the size in the header cannot be trusted.
  open_->data += chunk.data();
  if (open_->data.size() < open_->header.size_bytes()) return std::optional<StreamedTensor>();
  return std::exchange(open_, std::nullopt);
}

absl::Status TensorAssembler::Finish() const {
  if (!open_) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("tensor ", open_->header.tensor_id(),
                                          ": the stream ended after ", open_->data.size(), " of ",
                                          open_->header.size_bytes(), " bytes"));
}

std::string ShapeText(const v1::TensorHeader& header) {
  const v1::DataType dtype =
      header.dtype() == v1::DATA_TYPE_UNSPECIFIED ? v1::DATA_TYPE_FLOAT32 : header.dtype();
  return absl::StrCat(NameOf(dtype), " [", absl::StrJoin(header.shape(), ", "), "]");
}

}  // namespace scalpel::client
