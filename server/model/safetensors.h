// A reader of the safetensors format that trusts nothing in the file.
//
// Layout: 8 bytes little-endian N, N bytes of JSON header, then the tensors' bytes. The header maps
// each name to {dtype, shape, data_offsets}, offsets relative to the end of the header, and may
// hold "__metadata__" (strings). Tensors must fill the buffer without holes or overlap.

#ifndef SCALPEL_SERVER_MODEL_SAFETENSORS_H_
#define SCALPEL_SERVER_MODEL_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace scalpel::model {

// Limits; a file beyond any of them is refused.
inline constexpr uint64_t kHeaderBytesMax = 100'000'000;  // the format's own limit
inline constexpr size_t kTensorCountMax = 100'000;
inline constexpr size_t kTensorNameBytesMax = 512;
inline constexpr size_t kTensorRankMax = 8;

// Element types of the format. Only kF32, kF16 and kBF16 can hold weights here; the others are
// known, so that a tensor which is not needed (a boolean mask, say) does not make a file
// unreadable.
enum class Dtype {
  kF32,
  kF16,
  kBF16,
  kF64,
  kC64,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kI8,
  kI16,
  kI32,
  kI64,
  kU8,
  kU16,
  kU32,
  kU64,
  kBool,
};

std::string_view DtypeName(Dtype dtype);  // "F32", as in the file
uint64_t DtypeBytes(Dtype dtype);         // bytes of one element

struct TensorInfo {
  Dtype dtype;
  std::vector<int64_t> shape;  // empty: a scalar; a 0 is allowed: no elements
  uint64_t begin;              // bytes from the end of the header, [begin, end)
  uint64_t end;
};

struct Header {
  uint64_t data_offset = 0;  // bytes from the file's start to the first tensor byte: 8 + N
  std::map<std::string, TensorInfo, std::less<>> tensors;
  std::map<std::string, std::string> metadata;  // "__metadata__"
};

// Parses and checks the header. `bytes` is the file's beginning: all of it, or at least its first
// 8 + N bytes; `file_size` is the whole file's size in bytes. Guarantees on success: every
// tensor's byte size equals its shape's product times its dtype's size, and the tensors tile
// [data_offset, file_size) exactly. Errors are INVALID_ARGUMENT and name the tensor. Pure.
absl::StatusOr<Header> ParseHeader(std::string_view bytes, uint64_t file_size);

// A file mapped read-only for the life of the object. Movable; const methods are thread-safe.
class SafetensorsFile {
 public:
  // Opens `name` in `dir` by OpenModelFile's rules. Every error names the file.
  static absl::StatusOr<SafetensorsFile> Open(const std::filesystem::path& dir,
                                              std::string_view name);
  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&& other) noexcept;
  ~SafetensorsFile();

  const std::string& name() const { return name_; }
  const Header& header() const { return header_; }
  // The whole file; valid as long as this object.
  std::string_view bytes() const { return {data_, size_}; }
  // The bytes of a tensor of header(), not necessarily aligned.
  std::string_view TensorBytes(const TensorInfo& info) const {
    return bytes().substr(header_.data_offset + info.begin, info.end - info.begin);
  }

 private:
  SafetensorsFile() = default;

  std::string name_;
  const char* data_ = nullptr;
  size_t size_ = 0;
  Header header_;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_SAFETENSORS_H_
