// Opens files of a model folder, and no file outside it.

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

// Returns OK if `name` is a plain file name: 1 to 255 bytes without slash, backslash or control
// characters, and neither "." nor "..". INVALID_ARGUMENT otherwise. File names that a checkpoint's
// index lists are checked by this.
absl::Status CheckPlainFileName(std::string_view name);

// Opens the regular file `name` in `dir`. A symbolic link is followed only if its target stays
// inside `dir`, or, where `dir` is a snapshot of the HuggingFace cache (.../snapshots/<revision>),
// inside the sibling folder .../blobs. Any other link is refused.
//
// Errors, all of which name the file: NOT_FOUND if there is no such file; PERMISSION_DENIED;
// INVALID_ARGUMENT if the name is not plain, a link leaves the folder or is broken, or the file is
// not a regular one.
absl::StatusOr<ModelFile> OpenModelFile(const std::filesystem::path& dir, std::string_view name);

// Returns the bytes of the whole file. Errors are those of OpenModelFile, and INVALID_ARGUMENT if
// the file is larger than `bytes_max` or shrinks while it is read.
absl::StatusOr<std::string> ReadModelFile(const std::filesystem::path& dir, std::string_view name,
                                          int64_t bytes_max);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_MODEL_FILE_H_
