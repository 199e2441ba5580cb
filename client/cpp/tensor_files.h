// Saves tensors as files.

#ifndef SCALPEL_CLIENT_CPP_TENSOR_FILES_H_
#define SCALPEL_CLIENT_CPP_TENSOR_FILES_H_

#include <filesystem>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/tensors.h"

namespace scalpel::client {

// Returns a tensor's file name without its extension, such as `resid_post.0.layer9.prompt0.clean`.
// Whatever name the server sends, it consists of letters, digits, `_`, `-` and `.`, and does not
// start with `.`.
std::string FileStem(const v1::TensorHeader& header);

// Writes one .npy file for each tensor into a folder. Not thread-safe.
class TensorFiles {
 public:
  explicit TensorFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Creates the folder if it does not exist.
  absl::Status Open();

  // Writes a file, completely or not at all, and returns its path. If the name has been used by
  // this object, the tensor's id is appended.
  absl::StatusOr<std::string> Save(StreamedTensor tensor);

 private:
  const std::filesystem::path folder_;
  std::set<std::string> stems_;
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_TENSOR_FILES_H_
