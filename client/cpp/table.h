// Tables that are known whole before they are printed.

#ifndef SCALPEL_CLIENT_CPP_TABLE_H_
#define SCALPEL_CLIENT_CPP_TABLE_H_

#include <string>
#include <vector>

#include "client/cpp/screen.h"

namespace scalpel::client {

// One column's title and how its cells stand.
struct Column {
  std::string title;
  bool right = false;  // numbers
};

// Prints the rows under their titles (none if all are empty), each column as wide as its widest
// cell. The last column wraps at spaces where it meets the screen's edge. Every row has as many
// cells as there are columns.
void PrintTable(const Screen& screen, const std::vector<Column>& columns,
                const std::vector<std::vector<std::string>>& rows);

// `words` in lines of at most `columns`, broken at spaces; a longer word is cut.
std::vector<std::string> Wrapped(const std::string& words, int columns);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_TABLE_H_
