// Probes' results as a table that grows while layers are computed, and as sparklines by layer at
// the end.

#ifndef SCALPEL_CLIENT_CPP_STATISTICS_VIEW_H_
#define SCALPEL_CLIENT_CPP_STATISTICS_VIEW_H_

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "client/cpp/screen.h"
#include "proto/scalpel/v1/service.pb.h"

namespace scalpel::client {

// Prints one row for each layer, probe and prompt, the clean run beside the edited one, as soon as
// both are there. Statistics stand side by side where the screen is wide enough for all of them,
// otherwise below each other. Numbers per head, position or unit and histograms get lines of their
// own, with the indices of a part. Not thread-safe.
class StatisticsView {
 public:
  // `request`: the normalised one.
  StatisticsView(const Screen& screen, const v1::RunRequest& request);

  void Add(const v1::LayerStatistics& statistics);

  // What still waits for its other run, then the sparklines.
  void Finish();

 private:
  // A statistic's or quantile's value in both runs.
  struct Pair {
    std::optional<double> clean;
    std::optional<double> edited;
  };
  // One row: what one probe says of one layer of one prompt.
  struct Row {
    std::optional<int> layer;
    int probe = 0;
    int prompt = 0;
    std::string name;
    bool has_clean = false;
    bool has_edited = false;
    std::vector<std::pair<std::string, Pair>> values;
  };
  // The values of one label over layers.
  struct Series {
    std::string name;
    std::vector<int> layers;
    std::vector<double> clean;
    std::vector<double> edited;
  };

  void AddScalars(const v1::ProbeResult& result);
  void PrintArray(const v1::ProbeResult& result, const std::string& label,
                  const std::vector<double>& values);
  void PrintHistogram(const v1::ProbeResult& result);
  void PrintHeader();
  void Print(const Row& row);
  void PrintPairs(const Row& row, const std::string& keys);
  void PrintSeries(int prompt, const std::string& label, const Series& series);
  void FlushRows();
  std::string Keys(const std::string& layer, const std::string& probe,
                   const std::string& prompt) const;
  std::string WhereOf(const v1::ProbeResult& result) const;

  const Screen screen_;
  const bool clean_;                 // both runs come
  const bool prompts_;               // more than one prompt
  std::vector<std::string> labels_;  // of all probes, in order
  int name_columns_;
  bool wide_;
  bool header_printed_ = false;
  std::vector<Row> waiting_;
  std::map<std::tuple<int, int, std::string>, Series> series_;  // by probe, prompt, label
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_STATISTICS_VIEW_H_
