// The token file, reloaded when it changes.

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

// Provides the tokens of a file. Thread-safe.
class TokenFile {
 public:
  // Counts reloads since the start.
  struct Counts {
    int64_t reloads = 0;   // changes that were put in use
    int64_t failures = 0;  // changes that were rejected; the old tokens stay in use
  };

  // Reads the file and then checks it for changes every `interval`. Errors name the file and the
  // remedy. PERMISSION_DENIED: every user may write the file. INVALID_ARGUMENT: it is not a regular
  // file, or TokenList::Parse rejects its content. The codes of absl::ErrnoToStatus: it cannot be
  // opened or read.
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(
      const std::filesystem::path& path, absl::Duration interval = absl::Seconds(1));

  // Returns the tokens of the last valid file; never null.
  std::shared_ptr<const TokenList> tokens() const;
  Counts counts() const;

 private:
  TokenFile(const std::filesystem::path& path, absl::Duration interval);
  // Reads the file, as WatchedFile::Read. Returns false if the old tokens stay in use.
  bool Read(bool retry);

  const std::filesystem::path path_;
  mutable absl::Mutex mutex_;
  absl::Status first_ ABSL_GUARDED_BY(mutex_);  // the result of the first read
  std::shared_ptr<const TokenList> tokens_ ABSL_GUARDED_BY(mutex_);
  Counts counts_ ABSL_GUARDED_BY(mutex_);
  std::string told_ ABSL_GUARDED_BY(mutex_);  // the last failure logged
  WatchedFile watched_;                       // must be the last member: its thread uses the others
};

}  // namespace scalpel::access

#endif  // SCALPEL_SERVER_ACCESS_TOKEN_FILE_H_
