// Numbers as rows of Unicode blocks.

#ifndef SCALPEL_CLIENT_CPP_SPARKLINE_H_
#define SCALPEL_CLIENT_CPP_SPARKLINE_H_

#include <limits>
#include <string>
#include <vector>

namespace scalpel::client {

// The finite values that a sparkline spans. Grows over several series, so that they can be
// compared.
struct Scale {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Include(const std::vector<double>& values);
};

// One of ▁▂▃▄▅▆▇█ for each value, from the scale's low to its high end; `?` for a value that is not
// finite. Where all of the scale is one value, the lowest block.
std::string Sparkline(const std::vector<double>& values, const Scale& scale);

// A bar of `fraction` (0 to 1) of `columns`, in eighths of a column.
std::string Bar(double fraction, int columns);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SPARKLINE_H_
