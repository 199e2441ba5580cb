#include "client/cpp/text.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace scalpel::client {
namespace {

constexpr char32_t kInvalid = 0xFFFFFFFF;

struct CodePointRange {
  char32_t first;
  char32_t last;
};

// Control characters, bidirectional and other invisible formatting, and line separators, which are
// never sent to a terminal unescaped.
constexpr CodePointRange kUnprintable[] = {
    {0x00, 0x1F},     {0x7F, 0x9F},     {0xAD, 0xAD},     {0x061C, 0x061C}, {0x200B, 0x200F},
    {0x2028, 0x202E}, {0x2060, 0x206F}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE0FFF},
};

constexpr CodePointRange kCombining[] = {
    {0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD}, {0x0610, 0x061A},
    {0x064B, 0x065F}, {0x0900, 0x0902}, {0x093C, 0x093C}, {0x0E31, 0x0E31},
    {0x0E34, 0x0E3A}, {0x0E47, 0x0E4E}, {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF},
    {0x20D0, 0x20FF}, {0x3099, 0x309A}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F},
};

constexpr CodePointRange kWide[] = {
    {0x1100, 0x115F},   {0x231A, 0x231B},   {0x2E80, 0x303E},   {0x3041, 0x33FF},
    {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xA000, 0xA4CF},   {0xAC00, 0xD7A3},
    {0xF900, 0xFAFF},   {0xFE30, 0xFE4F},   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},
    {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD},
};

template <size_t n>
bool IsIn(const CodePointRange (&ranges)[n], char32_t point) {
  return std::any_of(std::begin(ranges), std::end(ranges), [point](const CodePointRange& range) {
    return point >= range.first && point <= range.last;
  });
}

// Returns the code point at `at` and advances `at` past it. If the bytes are not UTF-8, returns
// kInvalid and advances by one byte.
char32_t Next(absl::string_view text, size_t& at) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at++);
  if (lead < 0x80) return lead;
  const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  if (lead < 0xC2 || lead > 0xF4 || at + more > text.size()) return kInvalid;
  char32_t point = lead & (0x3F >> more);
  for (int i = 0; i < more; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return kInvalid;
    point = (point << 6) | (byte(at + i) & 0x3F);
  }
  constexpr char32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
  if (point < kSmallest[more] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
    return kInvalid;
  }
  at += more;
  return point;
}

int Width(char32_t point) {
  if (point == kInvalid) return 1;
  if (IsIn(kCombining, point) || IsIn(kUnprintable, point)) return 0;
  return IsIn(kWide, point) ? 2 : 1;
}

std::string Escape(char32_t point) {
  if (point == '\n') return "\\n";
  if (point == '\t') return "\\t";
  if (point == '\r') return "\\r";
  if (point < 0x100) return absl::StrFormat("\\x%02x", static_cast<unsigned>(point));
  return absl::StrFormat("\\u%04x", static_cast<unsigned>(point));
}

std::string Escaped(absl::string_view text, bool quotes) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t point = Next(text, at);
    if (point == kInvalid) {
      absl::StrAppendFormat(&out, "\\x%02x", static_cast<unsigned char>(text[start]));
    } else if (IsIn(kUnprintable, point)) {
      out += Escape(point);
    } else {
      if (quotes && (point == '"' || point == '\\')) out += '\\';
      absl::StrAppend(&out, text.substr(start, at - start));
    }
  }
  return out;
}

}  // namespace

std::string Printable(absl::string_view text) { return Escaped(text, /*quotes=*/false); }

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", Escaped(text, /*quotes=*/true), "\"");
}

bool IsUtf8(absl::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (Next(text, at) == kInvalid) return false;
  }
  return true;
}

int Columns(absl::string_view text) {
  int columns = 0;
  for (size_t at = 0; at < text.size();) columns += Width(Next(text, at));
  return columns;
}

std::string Fit(absl::string_view text, int columns) {
  if (Columns(text) <= columns) return std::string(text);
  if (columns <= 0) return "";
  int used = 0;
  size_t end = 0;
  for (size_t at = 0; at < text.size(); end = at) {
    used += Width(Next(text, at));
    if (used > columns - 1) break;
  }
  return absl::StrCat(text.substr(0, end), "…");
}

std::string PadRight(absl::string_view text, int columns) {
  std::string fitted = Fit(text, columns);
  fitted.append(std::max(0, columns - Columns(fitted)), ' ');
  return fitted;
}

std::string PadLeft(absl::string_view text, int columns) {
  const std::string fitted = Fit(text, columns);
  return std::string(std::max(0, columns - Columns(fitted)), ' ') + fitted;
}

std::string Number(double value) { return absl::StrFormat("%.4g", value); }

std::string Thousands(int64_t value) {
  const std::string digits = absl::StrCat(value);
  std::string grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    const bool group_starts = i > 0 && (digits.size() - i) % 3 == 0 && digits[i - 1] != '-';
    if (group_starts) grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

std::string Bytes(uint64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  double size = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; size >= 1024 && unit + 1 < std::size(kUnits); ++unit) size /= 1024;
  return absl::StrFormat(size < 100 ? "%.3g %s" : "%.0f %s", size, kUnits[unit]);
}

std::string Count(int64_t count, absl::string_view singular) {
  return absl::StrCat(Thousands(count), " ", singular, count == 1 ? "" : "s");
}

}  // namespace scalpel::client
