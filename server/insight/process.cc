#include "server/insight/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace scalpel::insight {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kKibibyte = 1024;

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Returns the number after `key` in a text with lines such as `MemTotal:  16 kB`; 0 if there is
// none.
int64_t NumberAfter(const std::string& text, absl::string_view key) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::ConsumePrefix(&line, key)) continue;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(": \t"), absl::SkipEmpty());
    int64_t number = 0;
    if (!words.empty() && absl::SimpleAtoi(words[0], &number)) return number;
  }
  return 0;
}

// Returns the fields of /proc/self/stat after the program's name, which may contain spaces and
// parentheses.
std::vector<std::string> StatFields() {
  const std::string text = ReadFile("/proc/self/stat");
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  return absl::StrSplit(text.substr(name_end + 1), ' ', absl::SkipEmpty());
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

}  // namespace

int64_t ResidentBytes() { return NumberAfter(ReadFile("/proc/self/status"), "VmRSS") * kKibibyte; }

int64_t MemoryLimitBytes(const fs::path& root) {
  int64_t limit = NumberAfter(ReadFile(root / "proc/meminfo"), "MemTotal") * kKibibyte;
  if (limit == 0) limit = std::numeric_limits<int64_t>::max();
  std::string group;
  for (absl::string_view line : absl::StrSplit(ReadFile(root / "proc/self/cgroup"), '\n')) {
    if (absl::ConsumePrefix(&line, "0::/")) group = std::string(line);
  }
  // In a container the path may be the host's, so that only the root folder exists.
  const fs::path top = root / "sys/fs/cgroup";
  for (fs::path folder = group;; folder = folder.parent_path()) {
    int64_t bytes = 0;  // stays unused if the file says `max`, which is not a number
    const std::string text = ReadFile(top / folder / "memory.max");
    if (absl::SimpleAtoi(text, &bytes)) limit = std::min(limit, bytes);
    if (folder.empty()) break;
  }
  return limit == std::numeric_limits<int64_t>::max() ? 0 : limit;
}

int64_t OpenDescriptors() {
  std::error_code error;
  const fs::directory_iterator folder("/proc/self/fd", error);
  return error ? 0 : std::distance(begin(folder), end(folder)) - 1;  // without the folder's own
}

int64_t DescriptorsMax() {
  rlimit limit = {};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<int64_t>(limit.rlim_cur) : 0;
}

double CpuSeconds() {
  rusage usage = {};
  return getrusage(RUSAGE_SELF, &usage) == 0 ? Seconds(usage.ru_utime) + Seconds(usage.ru_stime)
                                             : 0;
}

double StartTimeSeconds() {
  constexpr size_t kStartTicks = 19;  // index of `starttime`, in clock ticks since boot: proc(5)
  const std::vector<std::string> fields = StatFields();
  const int64_t booted = NumberAfter(ReadFile("/proc/stat"), "btime");
  int64_t ticks = 0;
  if (booted == 0 || fields.size() <= kStartTicks || !absl::SimpleAtoi(fields[kStartTicks], &ticks))
    return 0;
  return static_cast<double>(booted) +
         static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

void AddProcess(Sources& sources) {
  const auto whole = [](int64_t (*read)()) { return [read] { return double(read()); }; };
  sources.AddGauge("process_resident_memory_bytes", "Resident memory of the process.",
                   whole(ResidentBytes));
  sources.AddGauge("scalpel_memory_limit_bytes",
                   "Memory that the process may use: the limit of its cgroup or of the machine.",
                   [] { return static_cast<double>(MemoryLimitBytes()); });
  sources.AddGauge("process_open_fds", "Open file descriptors.", whole(OpenDescriptors));
  sources.AddGauge("process_max_fds", "The limit on open file descriptors.", whole(DescriptorsMax));
  sources.AddCounter("process_cpu_seconds_total", "CPU time of all threads.", CpuSeconds);
  sources.AddGauge("process_start_time_seconds", "When the process started, in seconds since 1970.",
                   StartTimeSeconds);
}

}  // namespace scalpel::insight
