#include "client/cpp/table.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

constexpr int kGap = 2;
constexpr int kLastColumnMin = 12;

std::vector<int> Widths(const std::vector<Column>& columns,
                        const std::vector<std::vector<std::string>>& rows) {
  std::vector<int> widths;
  for (size_t i = 0; i < columns.size(); ++i) {
    int width = Columns(columns[i].title);
    for (const auto& row : rows) width = std::max(width, Columns(row[i]));
    widths.push_back(width);
  }
  return widths;
}

// Formats one row; the last cell may continue on further lines.
std::string Row(const std::vector<Column>& columns, const std::vector<int>& widths,
                const std::vector<std::string>& cells, int screen_columns) {
  std::string line;
  for (size_t i = 0; i + 1 < cells.size(); ++i) {
    absl::StrAppend(
        &line, std::string(kGap, ' '),
        columns[i].right ? PadLeft(cells[i], widths[i]) : PadRight(cells[i], widths[i]));
  }
  line += std::string(kGap, ' ');
  if (columns.back().right) return absl::StrCat(line, PadLeft(cells.back(), widths.back()), "\n");
  const int indent = Columns(line);
  std::string text;
  for (const std::string& part :
       Wrapped(cells.back(), std::max(kLastColumnMin, screen_columns - indent))) {
    std::string whole = text.empty() ? line + part : std::string(indent, ' ') + part;
    absl::StripTrailingAsciiWhitespace(&whole);
    absl::StrAppend(&text, whole, "\n");
  }
  return text;
}

}  // namespace

std::vector<std::string> Wrapped(const std::string& words, int columns) {
  std::vector<std::string> lines(1);
  for (const absl::string_view word : absl::StrSplit(words, ' ', absl::SkipEmpty())) {
    std::string& line = lines.back();
    if (line.empty()) {
      line = Fit(word, columns);
    } else if (Columns(line) + 1 + Columns(word) <= columns) {
      absl::StrAppend(&line, " ", word);
    } else {
      lines.push_back(Fit(word, columns));
    }
  }
  return lines;
}

void PrintTable(const Screen& screen, const std::vector<Column>& columns,
                const std::vector<std::vector<std::string>>& rows) {
  const std::vector<int> widths = Widths(columns, rows);
  std::vector<std::string> titles;
  for (const Column& column : columns) titles.push_back(column.title);
  const bool titled =
      std::any_of(titles.begin(), titles.end(), [](const auto& title) { return !title.empty(); });
  if (titled) screen.out << screen.Dim(Row(columns, widths, titles, screen.columns));
  for (const auto& row : rows) screen.out << Row(columns, widths, row, screen.columns);
}

}  // namespace scalpel::client
