// Prints tables whose rows are all known.

#ifndef SCALPEL_CLIENT_CPP_TABLE_H_
#define SCALPEL_CLIENT_CPP_TABLE_H_

#include <string>
#include <vector>

#include "client/cpp/screen.h"

namespace scalpel::client {

// The title of a column, and the alignment of its cells.
struct Column {
  std::string title;
  bool right = false;  // right-aligned, for numbers
};

// Prints the rows under the titles, without a title line if all titles are empty. Each column is as
// wide as its widest cell; the last one is wrapped at spaces at the screen's edge. Every row must
// have a cell for each column.
void PrintTable(const Screen& screen, const std::vector<Column>& columns,
                const std::vector<std::vector<std::string>>& rows);

// Breaks `words` at spaces into lines of at most `columns`; a longer word is cut.
std::vector<std::string> Wrapped(const std::string& words, int columns);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_TABLE_H_
