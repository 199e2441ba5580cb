// Opens the files of a model folder, and nothing outside it.

#ifndef SCALPEL_SERVER_MODEL_MODEL_FILE_H_
#define SCALPEL_SERVER_MODEL_MODEL_FILE_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/file_descriptor.h"

namespace scalpel::model {

struct ModelFile {
  FileDescriptor fd;  // read-only, close-on-exec
  int64_t size;       // bytes
};

// OK if `name` is a plain file name: no slash, not "." or "..", no control characters, at most
// 255 bytes. Names from a checkpoint's index go through this.
absl::Status CheckPlainFileName(std::string_view name);

// Opens the regular file `name` in `dir`. A symbolic link is followed only if its target stays
// inside `dir`, or, where `dir` is a snapshot of the HuggingFace cache (.../snapshots/<revision>),
// inside the sibling folder .../blobs. Any other link is refused.
// Errors: NOT_FOUND (no such file), PERMISSION_DENIED, INVALID_ARGUMENT (bad name, link that leaves
// the folder or leads nowhere, not a regular file). Every message names the file.
absl::StatusOr<ModelFile> OpenModelFile(const std::filesystem::path& dir, std::string_view name);

// The whole file as bytes; INVALID_ARGUMENT if it is larger than `bytes_max`.
absl::StatusOr<std::string> ReadModelFile(const std::filesystem::path& dir, std::string_view name,
                                          int64_t bytes_max);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_MODEL_FILE_H_
