#include "server/net/descriptors.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>

namespace scalpel::net {
namespace {

// Reserved for the model's files, the log, and files that libraries open later.
constexpr int64_t kReserved = 64;

int64_t OpenDescriptors() {
  std::error_code error;
  const std::filesystem::directory_iterator open("/proc/self/fd", error);
  return error ? 0 : std::distance(begin(open), end(open));
}

}  // namespace

int32_t ConnectionsAllowed(int32_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit raised = limit;
    raised.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  const auto most = static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, INT32_MAX));
  const int64_t left = std::max<int64_t>(most - OpenDescriptors() - kReserved, 1);
  if (left >= wanted) return wanted;
  spdlog::warn(
      "at most {} connections instead of {}: this process may open only {} files and sockets; "
      "raise the limit (ulimit -n), or lower --max-connections",
      left, wanted, most);
  return static_cast<int32_t>(left);
}

}  // namespace scalpel::net
