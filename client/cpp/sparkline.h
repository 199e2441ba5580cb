// Draws numbers as rows of Unicode block characters.

#ifndef SCALPEL_CLIENT_CPP_SPARKLINE_H_
#define SCALPEL_CLIENT_CPP_SPARKLINE_H_

#include <limits>
#include <string>
#include <vector>

namespace scalpel::client {

// The range of the finite values of one or several series. Sparklines with the same scale can be
// compared.
struct Scale {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Include(const std::vector<double>& values);
};

// Returns one of ▁▂▃▄▅▆▇█ for each value, from the low to the high end of the scale, and `?` for a
// value that is not finite. If the scale is a single value, all blocks are the lowest.
std::string Sparkline(const std::vector<double>& values, const Scale& scale);

// Returns a bar that fills `fraction` (0 to 1) of `columns`, to an eighth of a column.
std::string Bar(double fraction, int columns);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SPARKLINE_H_
