// Prints the results of probes: a table that grows while layers are computed, and sparklines over
// layers at the end.

#ifndef SCALPEL_CLIENT_CPP_STATISTICS_VIEW_H_
#define SCALPEL_CLIENT_CPP_STATISTICS_VIEW_H_

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "client/cpp/screen.h"
#include "proto/scalpel/v1/observation.pb.h"
#include "proto/scalpel/v1/run.pb.h"

namespace scalpel::client {

// Prints one row for each layer, probe and prompt as soon as both the clean and the edited run have
// arrived. Statistics are printed side by side if the screen is wide enough for all of them, and
// otherwise one below the other. Numbers per head, position or unit, and histograms, are printed on
// separate lines, with the indices of the part. Not thread-safe.
class StatisticsView {
 public:
  // `request`: as normalised by the server.
  StatisticsView(const Screen& screen, const v1::RunRequest& request);

  // Prints the rows that are complete now, arrays and histograms. Keeps incomplete rows.
  void Add(const v1::LayerStatistics& statistics);

  // Prints the rows for which only one run has arrived, and then the sparklines.
  void Finish();

 private:
  // The value of a statistic or quantile in both runs.
  struct Pair {
    std::optional<double> clean;
    std::optional<double> edited;
  };
  // One row: the numbers of one probe for one layer of one prompt.
  struct Row {
    std::optional<int> layer;
    int probe = 0;
    int prompt = 0;
    std::string name;
    bool has_clean = false;
    bool has_edited = false;
    std::vector<std::pair<std::string, Pair>> values;
  };
  // The values of one statistic or quantile over layers.
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
  const bool clean_;                 // there is a clean run besides the edited one
  const bool prompts_;               // there is more than one prompt
  std::vector<std::string> labels_;  // the statistics and quantiles of all probes, in order
  int name_columns_;
  bool wide_;
  bool header_printed_ = false;
  std::vector<Row> waiting_;
  std::map<std::tuple<int, int, std::string>, Series> series_;  // by probe, prompt, label
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_STATISTICS_VIEW_H_
