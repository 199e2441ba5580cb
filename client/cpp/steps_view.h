// Prints the statistics of a generation's steps.

#ifndef SCALPEL_CLIENT_CPP_STEPS_VIEW_H_
#define SCALPEL_CLIENT_CPP_STEPS_VIEW_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "client/cpp/screen.h"
#include "proto/scalpel/v1/generate.pb.h"

namespace scalpel::client {

// Collects the statistics that are single numbers, and prints a map of steps by layers for each
// statistic of each stream. Not thread-safe.
class StepsView {
 public:
  // `stream`: its name, for the title of its maps.
  void Add(const std::string& stream, const v1::StepEvent& event);

  // Prints the maps, and says if there is more in --json.
  void Print(const Screen& screen) const;

 private:
  // By step and layer; -1: a site without layers.
  using Values = std::map<int32_t, std::map<int32_t, double>>;

  void AddResult(const std::string& stream, int32_t step, const v1::ProbeResult& result);

  std::map<std::pair<std::string, std::string>, Values> maps_;  // by stream, and by statistic
  bool more_ = false;  // arrays, histograms, tensors or logits
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_STEPS_VIEW_H_
