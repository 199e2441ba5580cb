// A reader of the safetensors format (https://github.com/huggingface/safetensors) that trusts
// nothing in the file.
//
// A file is a little-endian 64-bit number N, N bytes of JSON header, and the tensors' bytes. The
// header maps each tensor's name to {dtype, shape, data_offsets}, with offsets relative to the end
// of the header, and may have "__metadata__", a map of strings. The tensors must fill the file
// without holes or overlap.

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

// A file that exceeds one of these limits is refused.
inline constexpr uint64_t kHeaderBytesMax = 100'000'000;  // the format's own limit
inline constexpr size_t kTensorCountMax = 100'000;
inline constexpr size_t kTensorNameBytesMax = 512;
inline constexpr size_t kTensorRankMax = 8;

// The element types of the format. Only kF32, kF16 and kBF16 can be loaded as weights. The others
// are parsed so that a tensor that is not needed, such as a boolean mask, does not make a file
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

std::string_view DtypeName(Dtype dtype);  // the name in the file, such as "F32"
uint64_t DtypeBytes(Dtype dtype);         // the size of an element

struct TensorInfo {
  Dtype dtype;
  std::vector<int64_t> shape;  // empty for a scalar; dimensions may be 0
  uint64_t begin, end;         // range of bytes, counted from the end of the header
};

struct Header {
  uint64_t data_offset = 0;  // where the tensors' bytes begin in the file: 8 + N
  std::map<std::string, TensorInfo, std::less<>> tensors;
  std::map<std::string, std::string> metadata;  // "__metadata__"
};

// Parses and checks the header of a file of `file_size` bytes. `bytes` is the beginning of the
// file, at least its first 8 + N bytes. On success the size of every tensor equals the product of
// its shape times the size of its dtype, and the tensors cover [data_offset, file_size) exactly.
// Errors are INVALID_ARGUMENT and name the tensor.
absl::StatusOr<Header> ParseHeader(std::string_view bytes, uint64_t file_size);

// A file that is mapped into memory, read-only, as long as the object lives. Movable; const methods
// are thread-safe.
class SafetensorsFile {
 public:
  // Maps the file `name` in `dir` and parses its header. Errors, all of which name the file: those
  // of OpenModelFile and of ParseHeader, and RESOURCE_EXHAUSTED if the file cannot be mapped.
  static absl::StatusOr<SafetensorsFile> Open(const std::filesystem::path& dir,
                                              std::string_view name);
  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&& other) noexcept;
  ~SafetensorsFile();

  const std::string& name() const { return name_; }
  const Header& header() const { return header_; }
  // The bytes of the whole file, valid as long as this object.
  std::string_view bytes() const { return {data_, size_}; }
  // The bytes of a tensor of header(). They need not be aligned for its dtype.
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
