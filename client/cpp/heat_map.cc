#include "client/cpp/heat_map.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cpp/sparkline.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

constexpr int kRowLabelColumnsMax = 24;
constexpr int kNumberColumns = 6;  // such as ` -1.23`, and a gap
constexpr int kBlockColumns = 2;
constexpr int kNumberDigits = 3;

// Indices into the terminal's palette of 256 colours, from the centre outwards.
constexpr int kAbove[] = {235, 52, 88, 124, 160, 202, 214, 226};
constexpr int kBelow[] = {235, 17, 18, 20, 26, 32, 38, 51};
constexpr int kSteps = 8;
constexpr int kBrightFrom = 6;  // from this step on, the background needs dark letters

int WidestOf(const std::vector<std::string>& labels) {
  int widest = 0;
  for (const std::string& label : labels) widest = std::max(widest, Columns(label));
  return widest;
}

HeatMap Transposed(const HeatMap& map) {
  HeatMap turned{map.columns, map.rows, {}, map.centre};
  const size_t rows = map.rows.labels.size(), columns = map.columns.labels.size();
  for (size_t column = 0; column < columns; ++column) {
    for (size_t row = 0; row < rows; ++row)
      turned.values.push_back(map.values[row * columns + column]);
  }
  return turned;
}

// Pads labels that begin with a number, such as `9 " John"`, so that their numbers align.
std::vector<std::string> Aligned(const std::vector<std::string>& labels) {
  int numbers = 0;
  for (const std::string& label : labels)
    numbers = std::max(numbers, static_cast<int>(std::min(label.find(' '), label.size())));
  std::vector<std::string> aligned;
  for (const std::string& label : labels) {
    const size_t end = std::min(label.find(' '), label.size());
    aligned.push_back(absl::StrCat(PadLeft(label.substr(0, end), numbers), label.substr(end)));
  }
  const int widest = std::min(kRowLabelColumnsMax, WidestOf(aligned));
  for (std::string& label : aligned) label = PadRight(label, widest);
  return aligned;
}

// Draws values by their position on the scale of the map.
class Painter {
 public:
  Painter(const Screen& screen, const HeatMap& map) : screen_(screen), centre_(map.centre) {
    scale_.Include(map.values);
    if (scale_.low > scale_.high) scale_.low = scale_.high = 0;  // no value is finite
    reach_ = centre_ ? std::max(std::abs(scale_.high - *centre_), std::abs(*centre_ - scale_.low))
                     : scale_.high - scale_.low;
    // The numbers in all cells share one power of ten, which the legend states.
    const double most = std::max(std::abs(scale_.low), std::abs(scale_.high));
    if (most > 0 && (most >= 1000 || most < 0.01))
      exponent_ = static_cast<int>(std::floor(std::log10(most)));
    const double shown = most / std::pow(10, exponent_);
    decimals_ = shown >= 100 ? 0 : shown >= 10 ? 1 : kNumberDigits - 1;
  }

  // Returns a cell that is `columns` wide; with its number if `number`.
  std::string Cell(double value, int columns, bool number) const {
    if (!screen_.colour) return PadLeft(Digit(value), columns);
    if (!std::isfinite(value)) return PadLeft("?", columns);
    std::string text =
        number ? absl::StrFormat("%.*f", decimals_, value / std::pow(10, exponent_)) : "";
    if (text.find_first_not_of("-0.") == std::string::npos && text.starts_with('-'))
      text.erase(0, 1);  // writes -0 as 0
    return Coloured(value,
                    absl::StrCat(PadLeft(text, columns - (number ? 1 : 0)), number ? " " : ""));
  }

  std::string Legend() const {
    std::string legend = "  ";
    if (screen_.colour) {
      constexpr int kSamples = 11;
      const double low = centre_ ? *centre_ - reach_ : scale_.low;
      const double step = (centre_ ? 2 * reach_ : reach_) / (kSamples - 1);
      absl::StrAppend(&legend, Number(scale_.low), " ");
      for (int i = 0; i < kSamples; ++i) {
        const double value = low + i * step;
        if (value >= scale_.low - step / 2 && value <= scale_.high + step / 2)
          legend += Coloured(value, "  ");
      }
      absl::StrAppend(&legend, " ", Number(scale_.high));
    } else {
      absl::StrAppend(&legend, "0 is ", Number(scale_.low), ", 9 is ", Number(scale_.high));
    }
    if (centre_) absl::StrAppend(&legend, ", clean ", Number(*centre_));
    if (screen_.colour && exponent_ != 0) absl::StrAppend(&legend, ", in units of 1e", exponent_);
    return legend;
  }

 private:
  std::string Digit(double value) const {
    if (!std::isfinite(value)) return "?";
    const double span = scale_.high - scale_.low;
    const double fraction = span > 0 ? (value - scale_.low) / span : 0;
    return absl::StrCat(std::clamp(static_cast<int>(fraction * 10), 0, 9));
  }

  std::string Coloured(double value, absl::string_view text) const {
    const double from = centre_ ? *centre_ : scale_.low;
    const double fraction = reach_ > 0 ? std::abs(value - from) / reach_ : 0;
    const int step = std::clamp(static_cast<int>(fraction * kSteps), 0, kSteps - 1);
    const int background = value < from ? kBelow[step] : kAbove[step];
    return absl::StrFormat("\x1b[48;5;%d;38;5;%dm%s\x1b[0m", background,
                           step >= kBrightFrom ? 16 : 255, text);
  }

  const Screen screen_;
  const std::optional<double> centre_;
  Scale scale_;
  double reach_ = 0;
  int exponent_ = 0, decimals_ = 0;
};

}  // namespace

void PrintHeatMap(const Screen& screen, HeatMap map) {
  const bool down = WidestOf(map.columns.labels) > WidestOf(map.rows.labels) &&
                    WidestOf(map.columns.labels) > kNumberColumns - 1;
  if (down) map = Transposed(map);
  map.rows.labels = Aligned(map.rows.labels);
  const Painter painter(screen, map);
  const int labels =
      std::min(kRowLabelColumnsMax, std::max(WidestOf(map.rows.labels), Columns(map.rows.name)));
  const int room = screen.columns - labels - 4;
  const int narrow = std::max(kBlockColumns, WidestOf(map.columns.labels) + 1);
  const int count = static_cast<int>(map.columns.labels.size());
  const bool numbers = screen.colour && count * std::max(kNumberColumns, narrow) <= room;
  const int width = numbers ? std::max(kNumberColumns, narrow) : narrow;
  const int shown = std::clamp(room / width, 1, count);

  screen.out << screen.Dim(absl::StrCat("  ", std::string(labels, ' '), "  ", map.columns.name))
             << "\n";
  std::string header = absl::StrCat("  ", PadLeft(map.rows.name, labels), " ");
  for (int column = 0; column < shown; ++column)
    absl::StrAppend(&header, PadLeft(map.columns.labels[column], width - (numbers ? 1 : 0)),
                    numbers ? " " : "");
  absl::StripTrailingAsciiWhitespace(&header);
  screen.out << screen.Dim(header) << "\n";
  for (size_t row = 0; row < map.rows.labels.size(); ++row) {
    std::string line = absl::StrCat("  ", PadLeft(map.rows.labels[row], labels), " ");
    for (int column = 0; column < shown; ++column)
      line += painter.Cell(map.values[row * count + column], width, numbers);
    screen.out << line << "\n";
  }
  if (shown < count) {
    screen.out << screen.Dim(absl::StrCat("  (", Count(count - shown, "more column"),
                                          "; a wider terminal shows them)"))
               << "\n";
  }
  screen.out << painter.Legend() << "\n";
}

}  // namespace scalpel::client
