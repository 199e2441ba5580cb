// A folder that tensors are saved to.

#ifndef SCALPEL_CLIENT_CPP_TENSOR_FILES_H_
#define SCALPEL_CLIENT_CPP_TENSOR_FILES_H_

#include <filesystem>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/tensors.h"

namespace scalpel::client {

// The readable part of a tensor's file name, `resid_post.0.layer9.prompt0.clean`: only letters,
// digits, `_`, `-` and `.`, and no
// `.` in front, whatever the server calls it.
std::string FileStem(const v1::TensorHeader& header);

// Writes one .npy file for each tensor. Not thread-safe.
class TensorFiles {
 public:
  explicit TensorFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Makes the folder, if it is not there.
  absl::Status Open();

  // Writes the file whole or not at all, and returns its path. A name met before in this run gets
  // the tensor's id.
  absl::StatusOr<std::string> Save(StreamedTensor tensor);

 private:
  const std::filesystem::path folder_;
  std::set<std::string> stems_;
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_TENSOR_FILES_H_
