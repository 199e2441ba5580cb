#include "client/cpp/sparkline.h"

#include <algorithm>
#include <cmath>

namespace scalpel::client {

void Scale::Include(const std::vector<double>& values) {
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
}

std::string Sparkline(const std::vector<double>& values, const Scale& scale) {
  constexpr const char* kBlocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string line;
  for (const double value : values) {
    if (!std::isfinite(value)) {
      line += "?";
      continue;
    }
    // Halved before subtracting, so that the difference cannot overflow.
    const double span = scale.high / 2 - scale.low / 2;
    const double fraction = span > 0 ? (value / 2 - scale.low / 2) / span : 0;
    line += kBlocks[std::clamp(static_cast<int>(fraction * 8), 0, 7)];
  }
  return line;
}

std::string Bar(double fraction, int columns) {
  constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  if (!std::isfinite(fraction)) return "";
  const int eighths = static_cast<int>(std::lround(std::clamp(fraction, 0.0, 1.0) * columns * 8));
  std::string bar;
  for (int i = 0; i < eighths / 8; ++i) bar += "█";
  return bar + kEighths[eighths % 8];
}

}  // namespace scalpel::client
