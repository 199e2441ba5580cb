#include "client/cpp/statistics_view.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/axis_text.h"
#include "client/cpp/sparkline.h"
#include "client/cpp/spec_request.h"
#include "client/cpp/table.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

constexpr int kNumberColumns = 11;  // the width of the longest Number, and a gap
constexpr int kNameColumnsMax = 20;
constexpr int kArrayValuesMax = 64;
constexpr int kHistogramColumnsMax = 60;

std::string QuantileLabel(double quantile) { return absl::StrCat("q", quantile); }

// Returns the labels of the numbers of a result or probe: statistics, then quantiles.
std::vector<std::string> LabelsOf(const v1::RunRequest& request) {
  std::vector<std::string> labels;
  const auto add = [&labels](std::string label) {
    if (!absl::c_linear_search(labels, label)) labels.push_back(std::move(label));
  };
  for (const v1::Probe& probe : request.probes()) {
    for (const int statistic : probe.statistics()) {
      add(NameOf(static_cast<v1::Statistic>(statistic)));
    }
    for (const double quantile : probe.quantiles()) add(QuantileLabel(quantile));
  }
  return labels;
}

// Merges neighbouring counts so that at most `columns` are left.
std::vector<double> Rebinned(const google::protobuf::RepeatedField<int64_t>& counts, int columns) {
  const int together = (counts.size() + columns - 1) / columns;
  std::vector<double> bins;
  for (int i = 0; i < counts.size(); ++i) {
    if (i % together == 0) bins.push_back(0);
    bins.back() += static_cast<double>(counts[i]);
  }
  return bins;
}

std::string Cell(const std::optional<double>& value) {
  return PadLeft(value ? Number(*value) : "-", kNumberColumns);
}

void PrintLine(const Screen& screen, std::string line) {
  absl::StripTrailingAsciiWhitespace(&line);
  screen.out << line << "\n";
}

}  // namespace

StatisticsView::StatisticsView(const Screen& screen, const v1::RunRequest& request)
    : screen_(screen),
      clean_(request.include_clean_run()),
      prompts_(request.prompts_size() > 1),
      labels_(LabelsOf(request)),
      name_columns_(5) {
  for (const v1::Probe& probe : request.probes()) {
    name_columns_ = std::clamp(Columns(Printable(probe.name())), name_columns_, kNameColumnsMax);
  }
  const int needed = static_cast<int>(labels_.size()) * (clean_ ? 2 : 1) * kNumberColumns;
  wide_ = Columns(Keys("", "", "")) + needed <= screen_.columns;
}

std::string StatisticsView::Keys(const std::string& layer, const std::string& probe,
                                 const std::string& prompt) const {
  const std::string keys =
      absl::StrCat("  ", PadLeft(layer, 5), "  ", PadRight(Printable(probe), name_columns_));
  return prompts_ ? absl::StrCat(keys, "  ", PadLeft(prompt, 6)) : keys;
}

void StatisticsView::Add(const v1::LayerStatistics& statistics) {
  // When another layer begins, the waiting rows are complete.
  const bool other =
      !waiting_.empty() && (waiting_[0].layer.has_value() != statistics.has_layer() ||
                            waiting_[0].layer.value_or(0) != statistics.layer());
  if (other) FlushRows();
  for (const v1::ProbeResult& result : statistics.results()) {
    if (result.shape().empty()) AddScalars(result);
  }
  while (!waiting_.empty() && waiting_[0].has_edited && (waiting_[0].has_clean || !clean_)) {
    Print(waiting_[0]);
    waiting_.erase(waiting_.begin());
  }
  for (const v1::ProbeResult& result : statistics.results()) {
    if (!result.shape().empty()) {
      for (const auto& values : result.statistics()) {
        PrintArray(result, NameOf(values.statistic()),
                   {values.values().begin(), values.values().end()});
      }
      for (const auto& values : result.quantiles()) {
        PrintArray(result, QuantileLabel(values.quantile()),
                   {values.values().begin(), values.values().end()});
      }
    }
    if (result.has_histogram()) PrintHistogram(result);
  }
}

// Stores a result's numbers in the row of its layer, probe and prompt.
void StatisticsView::AddScalars(const v1::ProbeResult& result) {
  const std::optional<int> layer =
      result.has_layer() ? std::optional<int>(result.layer()) : std::nullopt;
  auto row = absl::c_find_if(waiting_, [&](const Row& row) {
    return row.layer == layer && row.probe == result.index() && row.prompt == result.prompt();
  });
  if (row == waiting_.end()) {
    waiting_.push_back({layer, result.index(), result.prompt(), result.name(), false, false, {}});
    row = waiting_.end() - 1;
  }
  (result.clean() ? row->has_clean : row->has_edited) = true;
  const auto add = [&](const std::string& label, double value) {
    auto entry =
        absl::c_find_if(row->values, [&](const auto& entry) { return entry.first == label; });
    if (entry == row->values.end()) entry = row->values.insert(entry, {label, {}});
    (result.clean() ? entry->second.clean : entry->second.edited) = value;
    Series& series = series_[{result.index(), result.prompt(), label}];
    if (!layer) return;
    series.name = result.name();
    if (!result.clean()) series.layers.push_back(*layer);
    (result.clean() ? series.clean : series.edited).push_back(value);
  };
  for (const auto& values : result.statistics()) {
    if (values.values_size() == 1) add(NameOf(values.statistic()), values.values(0));
  }
  for (const auto& values : result.quantiles()) {
    if (values.values_size() == 1) add(QuantileLabel(values.quantile()), values.values(0));
  }
}

void StatisticsView::PrintHeader() {
  header_printed_ = true;
  std::string runs = Keys("layer", "probe", "prompt");
  if (!wide_) {
    absl::StrAppend(&runs, "  ", PadRight("statistic", 14),
                    clean_ ? PadLeft("clean", kNumberColumns) : "",
                    PadLeft(clean_ ? "edited" : "value", kNumberColumns));
  } else if (clean_) {
    std::string names(Columns(runs), ' ');
    for (const std::string& label : labels_) {
      absl::StrAppend(&names, " ", PadLeft(label, 2 * kNumberColumns - 1));
      absl::StrAppend(&runs, PadLeft("clean", kNumberColumns), PadLeft("edited", kNumberColumns));
    }
    PrintLine(screen_, screen_.Dim(names));
  } else {
    for (const std::string& label : labels_) {
      absl::StrAppend(&runs, " ", PadLeft(label, kNumberColumns - 1));
    }
  }
  PrintLine(screen_, screen_.Dim(runs));
}

void StatisticsView::Print(const Row& row) {
  if (row.values.empty()) return;  // the probe has only a histogram
  if (!header_printed_) PrintHeader();
  std::string line =
      Keys(row.layer ? absl::StrCat(*row.layer) : "-", row.name, absl::StrCat(row.prompt));
  if (!wide_) return PrintPairs(row, line);
  for (const std::string& label : labels_) {
    const auto entry =
        absl::c_find_if(row.values, [&](const auto& entry) { return entry.first == label; });
    const Pair pair = entry == row.values.end() ? Pair() : entry->second;
    if (entry == row.values.end()) {
      line.append(kNumberColumns * (clean_ ? 2 : 1), ' ');  // not asked of this probe
    } else {
      absl::StrAppend(&line, clean_ ? Cell(pair.clean) : "", Cell(pair.edited));
    }
  }
  PrintLine(screen_, line);
}

// Prints one line for each statistic; only the first one has the keys.
void StatisticsView::PrintPairs(const Row& row, const std::string& keys) {
  std::string left = keys;
  for (const auto& [label, pair] : row.values) {
    PrintLine(screen_, absl::StrCat(left, "  ", PadRight(label, 14), clean_ ? Cell(pair.clean) : "",
                                    Cell(pair.edited)));
    left = std::string(Columns(keys), ' ');
  }
}

void StatisticsView::FlushRows() {
  for (const Row& row : waiting_) Print(row);
  waiting_.clear();
}

std::string StatisticsView::WhereOf(const v1::ProbeResult& result) const {
  std::string where = result.has_layer() ? absl::StrCat("layer ", result.layer(), " ") : "";
  absl::StrAppend(&where, Printable(result.name()));
  if (prompts_) absl::StrAppend(&where, " prompt ", result.prompt());
  if (clean_) absl::StrAppend(&where, result.clean() ? " clean" : " edited");
  return where;
}

void StatisticsView::PrintArray(const v1::ProbeResult& result, const std::string& label,
                                const std::vector<double>& values) {
  const size_t shown = std::min<size_t>(values.size(), kArrayValuesMax);
  std::vector<std::string> numbers;
  for (size_t i = 0; i < shown; ++i) numbers.push_back(Number(values[i]));
  if (shown < values.size()) {
    numbers.push_back(absl::StrCat("... ", Thousands(values.size() - shown), " more, see --json"));
  }
  PrintLine(screen_, absl::StrCat("  ", WhereOf(result), " ", screen_.Bold(label), " [",
                                  absl::StrJoin(result.shape(), ", "), "]"));
  if (const std::string part = PartText(result.axes()); !part.empty()) {
    for (const std::string& line : Wrapped(part, screen_.columns - 9)) {
      PrintLine(screen_, screen_.Dim(absl::StrCat("         ", line)));
    }
  }
  for (const std::string& line : Wrapped(absl::StrJoin(numbers, " "), screen_.columns - 9)) {
    PrintLine(screen_, absl::StrCat("         ", line));
  }
}

void StatisticsView::PrintHistogram(const v1::ProbeResult& result) {
  const v1::HistogramCounts& histogram = result.histogram();
  if (!result.shape().empty()) {
    PrintLine(screen_, absl::StrCat("  ", WhereOf(result), ": histograms, see --json"));
    return;
  }
  const std::vector<double> bins =
      Rebinned(histogram.counts(), std::min(kHistogramColumnsMax, screen_.columns - 12));
  Scale scale{0, 0};
  scale.Include(bins);
  const int64_t below = histogram.below_size() > 0 ? histogram.below(0) : 0;
  const int64_t above = histogram.above_size() > 0 ? histogram.above(0) : 0;
  PrintLine(screen_, absl::StrCat("  ", WhereOf(result), " histogram, ", Thousands(below),
                                  " below, ", Thousands(above), " above"));
  PrintLine(screen_, absl::StrCat("         ", Sparkline(bins, scale)));
}

void StatisticsView::PrintSeries(int prompt, const std::string& label, const Series& series) {
  Scale scale;
  scale.Include(series.clean);
  scale.Include(series.edited);
  const std::string of_prompt = prompts_ ? absl::StrCat(", prompt ", prompt) : "";
  PrintLine(screen_,
            absl::StrCat(screen_.Bold(label), " of ", Printable(series.name), of_prompt,
                         " at layers ", series.layers.front(), " to ", series.layers.back(),
                         ", from ", Number(scale.low), " to ", Number(scale.high)));
  const auto print = [&](const char* run, const std::vector<double>& values) {
    const size_t room = std::max(8, screen_.columns - 10);
    for (size_t i = 0; i < values.size(); i += room) {
      const std::vector<double> part(values.begin() + i,
                                     values.begin() + std::min(values.size(), i + room));
      PrintLine(screen_,
                absl::StrCat("  ", PadRight(i == 0 ? run : "", 8), Sparkline(part, scale)));
    }
  };
  if (!series.clean.empty()) print("clean", series.clean);
  print(series.clean.empty() ? "" : "edited", series.edited);
}

void StatisticsView::Finish() {
  FlushRows();
  bool any = false;
  for (const auto& [key, series] : series_) {
    if (series.layers.size() < 2) continue;
    if (!any) screen_.out << "\n";
    any = true;
    PrintSeries(std::get<1>(key), std::get<2>(key), series);
  }
  series_.clear();
}

}  // namespace scalpel::client
