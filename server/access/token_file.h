// The file of tokens, kept current.

#ifndef SCALPEL_SERVER_ACCESS_TOKEN_FILE_H_
#define SCALPEL_SERVER_ACCESS_TOKEN_FILE_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/access/token_list.h"
#include "server/base/watched_file.h"

namespace scalpel::access {

// Thread-safe.
class TokenFile {
 public:
  struct Counts {
    int64_t reloads = 0;   // changes that were taken over
    int64_t failures = 0;  // changes that were not, and left the tokens before in force
  };

  // Reads the file and watches it. Errors name it, and what to do. A file that others may write is
  // PERMISSION_DENIED.
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(
      const std::filesystem::path& path, absl::Duration interval = absl::Seconds(1));

  // Those of the last good file; never null.
  std::shared_ptr<const TokenList> tokens() const;
  Counts counts() const;

 private:
  TokenFile(const std::filesystem::path& path, absl::Duration interval);
  // False: the tokens before are still in force.
  bool Read(bool retry);

  const std::filesystem::path path_;
  mutable absl::Mutex mutex_;
  absl::Status first_ ABSL_GUARDED_BY(mutex_);  // how the first reading went
  std::shared_ptr<const TokenList> tokens_ ABSL_GUARDED_BY(mutex_);
  Counts counts_ ABSL_GUARDED_BY(mutex_);
  std::string told_ ABSL_GUARDED_BY(mutex_);  // the last failure
  WatchedFile watched_;                       // the last member: its thread uses the others
};

}  // namespace scalpel::access

#endif  // SCALPEL_SERVER_ACCESS_TOKEN_FILE_H_
