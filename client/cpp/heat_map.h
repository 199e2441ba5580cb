// Prints a matrix of numbers as a heat map.

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
  // Row-major. Values that are not finite are shown as `?`.
  std::vector<double> values;
  // Such as the clean run's value; colours show on which side of it a value is.
  std::optional<double> centre;
};

// Prints the map, followed by a legend. The axis with the longer labels runs down the screen, and
// columns that do not fit are left out.
//
// With colours, cells range from blue (below the centre) over dark to yellow (above), or from dark
// to yellow if there is no centre; the cells hold the numbers if these fit. Without colours, cells
// are digits from 0 (the smallest value) to 9.
void PrintHeatMap(const Screen& screen, HeatMap map);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_HEAT_MAP_H_
