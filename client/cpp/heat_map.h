// A matrix of numbers as a picture.

#ifndef SCALPEL_CLIENT_CPP_HEAT_MAP_H_
#define SCALPEL_CLIENT_CPP_HEAT_MAP_H_

#include <optional>
#include <string>
#include <vector>

#include "client/cpp/screen.h"

namespace scalpel::client {

// An axis: its name, and a label for each of its values.
struct MapAxis {
  std::string name;
  std::vector<std::string> labels;
};

struct HeatMap {
  MapAxis rows, columns;
  std::vector<double> values;    // row-major; not finite: shown as `?`
  std::optional<double> centre;  // such as the clean run's value: colours tell which side of it
};

// With colours: cells from blue (below the centre) over dark to yellow (above), or from dark to
// yellow where there is no centre; with the numbers in them as far as they fit. Without: digits
// from 0 (the smallest) to 9. A legend follows. The axis with the longer labels goes down.
void PrintHeatMap(const Screen& screen, HeatMap map);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_HEAT_MAP_H_
