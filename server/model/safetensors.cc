#include "server/model/safetensors.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/json.h"
#include "server/model/model_file.h"

namespace scalpel::model {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kPrefixBytes = 8;  // the header's length
// The entry of a tensor has at most 18 JSON values: its key, its object, three keys, and their
// values (dtype, a list of up to 8 dimensions, a list of 2 offsets).
constexpr JsonLimits kHeaderLimits{/*depth_max=*/3, /*values_max=*/kTensorCountMax * 20};

struct DtypeEntry {
  Dtype dtype;
  const char* name;
  uint64_t bytes;
};

constexpr std::array<DtypeEntry, 17> kDtypes{{
    {Dtype::kF32, "F32", 4},
    {Dtype::kF16, "F16", 2},
    {Dtype::kBF16, "BF16", 2},
    {Dtype::kF64, "F64", 8},
    {Dtype::kC64, "C64", 8},
    {Dtype::kF8E4M3, "F8_E4M3", 1},
    {Dtype::kF8E5M2, "F8_E5M2", 1},
    {Dtype::kF8E8M0, "F8_E8M0", 1},
    {Dtype::kI8, "I8", 1},
    {Dtype::kI16, "I16", 2},
    {Dtype::kI32, "I32", 4},
    {Dtype::kI64, "I64", 8},
    {Dtype::kU8, "U8", 1},
    {Dtype::kU16, "U16", 2},
    {Dtype::kU32, "U32", 4},
    {Dtype::kU64, "U64", 8},
    {Dtype::kBool, "BOOL", 1},
}};

const DtypeEntry& EntryOf(Dtype dtype) {
  return *std::find_if(kDtypes.begin(), kDtypes.end(),
                       [dtype](const DtypeEntry& entry) { return entry.dtype == dtype; });
}

absl::Status Bad(absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("safetensors header: ", problem));
}

absl::Status BadTensor(const std::string& name, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("tensor ", QuotedName(name), ": ", problem));
}

uint64_t LittleEndian64(std::string_view bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

absl::StatusOr<Dtype> ParseDtype(const std::string& name, const Json& field) {
  if (field.is_string()) {
    for (const DtypeEntry& entry : kDtypes) {
      if (field.get_ref<const std::string&>() == entry.name) return entry.dtype;
    }
    return BadTensor(
        name, absl::StrCat("unknown dtype ", QuotedName(field.get_ref<const std::string&>())));
  }
  return BadTensor(name, "dtype is not a string");
}

// Reads the shape and returns the tensor's size in bytes. Every product is checked for overflow: a
// product that wraps around could agree with a tiny buffer.
absl::StatusOr<uint64_t> ParseShape(const std::string& name, const Json& field, Dtype dtype,
                                    std::vector<int64_t>* shape) {
  if (!field.is_array()) return BadTensor(name, "shape is not a list");
  if (field.size() > kTensorRankMax) {
    return BadTensor(name, absl::StrCat("more than ", kTensorRankMax, " dimensions"));
  }
  uint64_t bytes = DtypeBytes(dtype);
  for (const Json& dimension : field) {
    if (!dimension.is_number_unsigned() ||
        dimension.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
      return BadTensor(name, "shape holds a value that is not a non-negative integer");
    }
    if (__builtin_mul_overflow(bytes, dimension.get<uint64_t>(), &bytes)) {
      return BadTensor(name, "shape's product overflows");
    }
    shape->push_back(dimension.get<int64_t>());
  }
  return bytes;
}

absl::Status ParseOffsets(const std::string& name, const Json& field, TensorInfo* info) {
  if (!field.is_array() || field.size() != 2 || !field[0].is_number_unsigned() ||
      !field[1].is_number_unsigned()) {
    return BadTensor(name, "data_offsets is not [begin, end]");
  }
  info->begin = field[0].get<uint64_t>();
  info->end = field[1].get<uint64_t>();
  if (info->end < info->begin) return BadTensor(name, "data_offsets end before they begin");
  return absl::OkStatus();
}

absl::StatusOr<TensorInfo> ParseTensor(const std::string& name, const Json& entry) {
  if (!entry.is_object()) return BadTensor(name, "its entry is not an object");
  const auto dtype = entry.find("dtype");
  const auto shape = entry.find("shape");
  const auto offsets = entry.find("data_offsets");
  if (dtype == entry.end() || shape == entry.end() || offsets == entry.end() || entry.size() != 3) {
    return BadTensor(name, "its fields are not exactly dtype, shape and data_offsets");
  }
  TensorInfo info{};
  absl::StatusOr<Dtype> parsed_dtype = ParseDtype(name, *dtype);
  if (!parsed_dtype.ok()) return parsed_dtype.status();
  info.dtype = *parsed_dtype;
  absl::StatusOr<uint64_t> bytes = ParseShape(name, *shape, info.dtype, &info.shape);
  if (!bytes.ok()) return bytes.status();
  if (absl::Status read = ParseOffsets(name, *offsets, &info); !read.ok()) return read;
  if (info.end - info.begin != *bytes) {
    return BadTensor(name, absl::StrCat("shape and dtype need ", *bytes,
                                        " bytes, data_offsets "
                                        "give ",
                                        info.end - info.begin));
  }
  return info;
}

absl::Status ReadMetadata(const Json& metadata, std::map<std::string, std::string>* result) {
  if (!metadata.is_object()) return Bad("__metadata__ is not an object");
  for (const auto& [name, value] : metadata.items()) {
    if (!value.is_string()) return Bad("__metadata__ holds a value that is not a string");
    result->emplace(name, value.get<std::string>());
  }
  return absl::OkStatus();
}

// Checks that the tensors, in order of their bytes, follow one another without holes or overlap,
// and that the last one ends where the file ends.
absl::Status CheckTiling(const Header& header, uint64_t data_bytes) {
  std::vector<const std::pair<const std::string, TensorInfo>*> order;
  order.reserve(header.tensors.size());
  for (const auto& entry : header.tensors) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  uint64_t expected = 0;
  for (const auto* entry : order) {
    const TensorInfo& info = entry->second;
    if (info.begin != expected) {
      return BadTensor(entry->first, absl::StrCat(info.begin < expected ? "overlaps"
                                                                        : "leaves a "
                                                                          "hole after",
                                                  " the tensor before it: begins at ", info.begin,
                                                  ", expected ", expected));
    }
    if (info.end > data_bytes) {
      return BadTensor(entry->first,
                       absl::StrCat("ends at byte ", info.end, " of the data, the file has ",
                                    data_bytes, "; is it truncated?"));
    }
    expected = info.end;
  }
  if (expected == data_bytes) return absl::OkStatus();
  return Bad(absl::StrCat("the tensors take ", expected, " bytes, the file has ", data_bytes));
}

// Checks the length of the header and returns its JSON text.
absl::StatusOr<std::string_view> HeaderText(std::string_view bytes, uint64_t file_size) {
  if (file_size < kPrefixBytes || bytes.size() < kPrefixBytes) {
    return Bad("the file is shorter than 8 bytes");
  }
  const uint64_t length = LittleEndian64(bytes);
  if (length > kHeaderBytesMax) {
    return Bad(absl::StrCat("claims ", length, " bytes; the limit is ", kHeaderBytesMax));
  }
  if (length > file_size - kPrefixBytes || length > bytes.size() - kPrefixBytes) {
    return Bad(absl::StrCat("claims ", length, " bytes, the file has only ",
                            file_size - kPrefixBytes, " after its length; is it truncated?"));
  }
  const std::string_view text = bytes.substr(kPrefixBytes, length);
  if (text.empty() || text.front() != '{') return Bad("does not begin with {");
  return text;
}

}  // namespace

std::string_view DtypeName(Dtype dtype) { return EntryOf(dtype).name; }

uint64_t DtypeBytes(Dtype dtype) { return EntryOf(dtype).bytes; }

absl::StatusOr<Header> ParseHeader(std::string_view bytes, uint64_t file_size) {
  absl::StatusOr<std::string_view> text = HeaderText(bytes, file_size);
  if (!text.ok()) return text.status();
  absl::StatusOr<Json> json = ParseJson(*text, kHeaderLimits);
  if (!json.ok()) return Bad(json.status().message());

  Header header;
  header.data_offset = kPrefixBytes + text->size();
  for (const auto& [name, entry] : json->items()) {
    if (name == "__metadata__") {
      absl::Status read = ReadMetadata(entry, &header.metadata);
      if (!read.ok()) return read;
      continue;
    }
    if (name.empty() || name.size() > kTensorNameBytesMax) {
      return BadTensor(name,
                       absl::StrCat("its name is not 1 to ", kTensorNameBytesMax, " bytes long"));
    }
    if (header.tensors.size() == kTensorCountMax) {
      return Bad(absl::StrCat("more than ", kTensorCountMax, " tensors"));
    }
    absl::StatusOr<TensorInfo> info = ParseTensor(name, entry);
    if (!info.ok()) return info.status();
    header.tensors.emplace(name, *std::move(info));
  }
  if (absl::Status tiling = CheckTiling(header, file_size - header.data_offset); !tiling.ok()) {
    return tiling;
  }
  return header;
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::filesystem::path& dir,
                                                      std::string_view file_name) {
  const std::string name(file_name);
  absl::StatusOr<ModelFile> file = OpenModelFile(dir, name);
  if (!file.ok()) return file.status();
  SafetensorsFile result;
  result.name_ = name;
  if (file->size > 0) {  // mmap fails for an empty file, for which ParseHeader has a clearer error
    void* data =
        ::mmap(nullptr, static_cast<size_t>(file->size), PROT_READ, MAP_PRIVATE, file->fd.get(), 0);
    if (data == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          absl::StrCat(name, ": cannot be mapped: ", std::strerror(errno)));
    }
    result.data_ = static_cast<const char*>(data);
    result.size_ = static_cast<size_t>(file->size);
  }
  absl::StatusOr<Header> header = ParseHeader(result.bytes(), result.size_);
  if (!header.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", header.status().message()));
  }
  result.header_ = *std::move(header);
  return result;
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept { *this = std::move(other); }

SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(header_, other.header_);
  return *this;
}

SafetensorsFile::~SafetensorsFile() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
}

}  // namespace scalpel::model
