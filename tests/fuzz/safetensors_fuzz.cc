// Fuzzes the reader of a safetensors header. The tensors that it accepts lie in the file, one after
// the other, and fill it.

#include <algorithm>
#include <utility>
#include <vector>

#include "server/model/safetensors.h"
#include "tests/fuzz/fuzz.h"

namespace {

using scalpel::model::DtypeBytes;
using scalpel::model::Header;

// Checks the promises of ParseHeader in 128-bit arithmetic, which cannot overflow here.
void Check(std::string_view bytes, uint64_t file_size) {
  const absl::StatusOr<Header> header = scalpel::model::ParseHeader(bytes, file_size);
  if (!header.ok()) return scalpel::fuzz::HoldsForMessage(header.status());
  std::vector<std::pair<uint64_t, uint64_t>> parts;
  for (const auto& [name, info] : header->tensors) {
    unsigned __int128 tensor_bytes = DtypeBytes(info.dtype);
    for (const int64_t length : info.shape) tensor_bytes *= static_cast<uint64_t>(length);
    HOLDS(info.begin <= info.end && tensor_bytes == info.end - info.begin);
    parts.emplace_back(info.begin, info.end);
  }
  std::sort(parts.begin(), parts.end());
  uint64_t end = 0;
  for (const auto& [begin, next] : parts) {
    HOLDS(begin == end);
    end = next;
  }
  HOLDS(header->data_offset + end == file_size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = scalpel::fuzz::Text(data, size);
  Check(bytes, size);
  // As if only the beginning of a longer file were there.
  Check(bytes, uint64_t{size} + (size > 0 ? data[size - 1] : 0));
  return 0;
}
