// Fuzzes the parsers of a checkpoint's untrusted text with libFuzzer: the safetensors header, whose
// accepted tensors must be inside the file, and config.json.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "server/model/config.h"
#include "server/model/safetensors.h"

namespace {

using scalpel::model::DtypeBytes;
using scalpel::model::Header;
using scalpel::model::TensorInfo;

// Checks the promises of ParseHeader in 128-bit arithmetic, which cannot overflow here.
void Check(const Header& header, uint64_t file_size) {
  unsigned __int128 total = 0;
  for (const auto& [name, info] : header.tensors) {
    unsigned __int128 bytes = DtypeBytes(info.dtype);
    for (const int64_t size : info.shape) bytes *= static_cast<uint64_t>(size);
    if (info.begin > info.end || bytes != info.end - info.begin) std::abort();
    if (header.data_offset + info.end > file_size) std::abort();
    total += bytes;
  }
  if (total != file_size - header.data_offset) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (auto header = scalpel::model::ParseHeader(bytes, size); header.ok()) Check(*header, size);
  // Also tests files of which only the beginning is given, as when only the header was read.
  const uint64_t file_size = uint64_t{size} + (size > 0 ? data[0] : 0);
  if (auto header = scalpel::model::ParseHeader(bytes, file_size); header.ok()) {
    Check(*header, file_size);
  }
  if (auto config = scalpel::model::ParseConfig(bytes); config.ok()) {
    if (config->d_head * config->n_head != config->d_model) std::abort();
    if (config->ParameterCount() <= 0) std::abort();
  }
  return 0;
}
