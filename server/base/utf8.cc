#include "server/base/utf8.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace scalpel {

Utf8Step NextUtf8(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, true};
  if (lead < 0xC2 || lead > 0xF4) return {1, false};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The range of the second byte excludes overlong forms, surrogates and values above U+10FFFF.
  unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size() || byte(i) < low || byte(i) > high) return {i, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true};
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = NextUtf8(text);
    result.append(step.valid ? text.substr(0, step.bytes) : "\xEF\xBF\xBD");
    text.remove_prefix(step.bytes);
  }
  return result;
}

size_t UnfinishedUtf8(std::string_view text) {
  for (size_t bytes = 1; bytes <= std::min<size_t>(3, text.size()); ++bytes) {
    const std::string_view end = text.substr(text.size() - bytes);
    const auto lead = static_cast<unsigned char>(end.front());
    if ((lead & 0xC0) == 0x80) continue;  // no character begins here
    const Utf8Step step = NextUtf8(end);
    const bool unfinished = lead >= 0xC2 && lead <= 0xF4 && !step.valid && step.bytes == bytes;
    return unfinished ? bytes : 0;
  }
  return 0;
}

absl::string_view Beginning(absl::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

std::string OneLine(absl::string_view text) {
  std::string line;
  for (const char c : ReplaceInvalidUtf8({text.data(), text.size()})) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c)))
      absl::StrAppend(&line, absl::CHexEscape({&c, 1}));
    else
      line += c;
  }
  return line;
}

std::string Truncated(absl::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  return absl::StrCat(Beginning(text, bytes_max), "…");
}

}  // namespace scalpel
