// What the fuzz targets share. A target says with HOLDS what must be true of every input.

#ifndef SCALPEL_TESTS_FUZZ_FUZZ_H_
#define SCALPEL_TESTS_FUZZ_FUZZ_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/base/utf8.h"

// Ends the program if the condition is false: libFuzzer then keeps the input.
#define HOLDS(condition) scalpel::fuzz::Holds(condition, #condition, __FILE__, __LINE__)

namespace scalpel::fuzz {

inline void Holds(bool holds, const char* condition, const char* file, int line) {
  if (holds) return;
  std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
  std::abort();
}

inline std::string_view Text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Takes what comes before the next `separator` off the text; takes all where there is none.
inline std::string_view Cut(std::string_view* text, char separator) {
  const std::string_view first = text->substr(0, text->find(separator));
  text->remove_prefix(std::min(text->size(), first.size() + 1));
  return first;
}

inline bool IsUtf8(std::string_view text) { return ReplaceInvalidUtf8(text) == text; }

// What every message to an operator must be: one line of UTF-8, which does not repeat a long input.
inline void HoldsForMessage(const absl::Status& status) {
  const std::string message(status.message());
  HOLDS(!message.empty() && message.size() < 2000);
  HOLDS(message.find('\n') == std::string::npos && IsUtf8(message));
}

// CPU seconds of this process. The machine's other work does not count.
inline double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// A folder in memory where there is one, removed at the end.
class Folder {
 public:
  Folder() {
    const std::filesystem::path memory = "/dev/shm";
    const auto parent = is_directory(memory) ? memory : std::filesystem::temp_directory_path();
    std::string pattern = parent / "scalpel-fuzz-XXXXXX";
    HOLDS(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void Write(const std::string& name, std::string_view bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
  }
  void Remove(const std::string& name) const { std::filesystem::remove(path_ / name); }

 private:
  std::filesystem::path path_;
};

}  // namespace scalpel::fuzz

#endif  // SCALPEL_TESTS_FUZZ_FUZZ_H_
