#include "client/cpp/tensor_files.h"

#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "client/cpp/npy.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

constexpr size_t kNameBytesMax = 128;
constexpr int kPromptsShownMax = 4;

// Replaces unsafe characters: `resid_post[0]` becomes `resid_post.0`.
std::string SafeName(absl::string_view name) {
  std::string safe;
  for (const char c : name.substr(0, kNameBytesMax)) {
    if (c == ']') continue;
    safe += c == '[' ? '.' : absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.' ? c : '_';
  }
  if (safe.empty()) return "tensor";
  if (safe[0] == '.') safe[0] = '_';
  return safe;
}

}  // namespace

std::string FileStem(const v1::TensorHeader& header) {
  std::string stem = SafeName(header.name());
  if (header.kind() == v1::TENSOR_KIND_CAPTURE && header.has_layer()) {
    absl::StrAppend(&stem, ".layer", header.layer());
  }
  if (header.prompts_size() > kPromptsShownMax) {
    absl::StrAppend(&stem, ".prompts", header.prompts(0), "-",
                    header.prompts(header.prompts_size() - 1));
  } else if (header.prompts_size() > 0) {
    absl::StrAppend(&stem, ".prompt", absl::StrJoin(header.prompts(), "-"));
  }
  if (header.moment() == v1::MOMENT_BEFORE) stem += ".before";
  if (header.clean()) stem += ".clean";
  return stem;
}

absl::Status TensorFiles::Open() {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (!error && std::filesystem::is_directory(folder_, error)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--save: ", Printable(folder_.string()),
                                                 " cannot be used as a folder (", error.message(),
                                                 "); choose another"));
}

absl::StatusOr<std::string> TensorFiles::Save(StreamedTensor tensor) {
  std::string stem = FileStem(tensor.header);
  while (!stems_.insert(stem).second) absl::StrAppend(&stem, ".t", tensor.header.tensor_id());
  const std::filesystem::path path = folder_ / absl::StrCat(stem, ".npy");
  const std::filesystem::path part = folder_ / absl::StrCat(stem, ".npy.part");
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  const std::vector<int64_t> shape(tensor.header.shape().begin(), tensor.header.shape().end());
  file << NpyHeader(tensor.header.dtype(), shape)
       << NpyData(tensor.header.dtype(), std::move(tensor.data));
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(part, path, error);
  if (file && !error) return path.string();
  std::filesystem::remove(part, error);
  return absl::UnavailableError(
      absl::StrCat("--save: ", Printable(path.string()),
                   " cannot be written; check the space and rights there"));
}

}  // namespace scalpel::client
