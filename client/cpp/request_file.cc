#include "client/cpp/request_file.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "client/cpp/text.h"
#include "google/protobuf/util/json_util.h"

namespace scalpel::client {
namespace {

constexpr size_t kFileBytesMax = size_t{64} << 20;

absl::StatusOr<std::string> ReadAll(std::istream& in, const std::string& name) {
  std::string text;
  char buffer[1 << 16];
  while (in.read(buffer, sizeof(buffer)), in.gcount() > 0) {
    text.append(buffer, in.gcount());
    if (text.size() > kFileBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": more than ", Bytes(kFileBytesMax), "; make it smaller"));
    }
  }
  if (in.bad()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": cannot be read; check the file"));
  }
  return text;
}

absl::StatusOr<std::string> ReadFile(const std::string& path, std::istream& in) {
  if (path == "-") return ReadAll(in, "standard input");
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::InvalidArgumentError(
        absl::StrCat(Printable(path), ": cannot be opened; check the path"));
  }
  return ReadAll(file, Printable(path));
}

// What a flag says takes the place of what the file says, where MergeFrom would append to it.
void ClearReplaced(const v1::RunRequest& flags, v1::RunRequest& request) {
  if (flags.logits().has_positions()) request.mutable_logits()->clear_positions();
  if (flags.logits().form_case() != v1::LogitsRequest::FORM_NOT_SET) {
    request.mutable_logits()->clear_form();
  }
  if (flags.has_block_outputs()) request.mutable_block_outputs()->clear_layers();
}

}  // namespace

absl::StatusOr<v1::RunRequest> RequestOf(const Options& options, std::istream& in) {
  v1::RunRequest request;
  if (!options.file.empty()) {
    const absl::StatusOr<std::string> text = ReadFile(options.file, in);
    if (!text.ok()) return text.status();
    const auto parsed = google::protobuf::util::JsonStringToMessage(*text, &request);
    if (!parsed.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          Printable(options.file),
          ": not a RunRequest in protobuf JSON: ", Printable(std::string(parsed.message()))));
    }
  }
  ClearReplaced(options.request, request);
  request.MergeFrom(options.request);
  if (!options.model.empty()) request.set_model(options.model);
  return request;
}

}  // namespace scalpel::client
