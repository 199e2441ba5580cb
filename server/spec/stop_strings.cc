#include "server/spec/stop_strings.h"

#include <algorithm>
#include <utility>

namespace scalpel::spec {

StopStrings::StopStrings(std::vector<std::string> strings)
    : strings_(std::move(strings)), nodes_(1) {
  size_t longest = 0;
  for (const std::string& string : strings_) longest = std::max(longest, string.size());
  // By length, because a beginning's suffix is shorter than itself and must be there before it.
  std::vector<State> reached(strings_.size(), kStart);
  for (size_t length = 0; length < longest; ++length) {
    for (size_t i = 0; i < strings_.size(); ++i) {
      if (length >= strings_[i].size()) continue;
      const char byte = strings_[i][length];
      const State before = std::exchange(reached[i], static_cast<State>(nodes_.size()));
      const auto [node, added] = longer_.try_emplace(Key(before, byte), reached[i]);
      if (added) {
        const State suffix = before == kStart ? kStart : Next(nodes_[before].suffix, byte);
        nodes_.push_back({.suffix = suffix, .string = nodes_[suffix].string});
      } else {
        reached[i] = node->second;
      }
      if (length + 1 == strings_[i].size()) nodes_[reached[i]].string = static_cast<int32_t>(i);
    }
  }
}

StopStrings::State StopStrings::Next(State state, char byte) const {
  while (true) {
    const auto found = longer_.find(Key(state, byte));
    if (found != longer_.end()) return found->second;
    if (state == kStart) return kStart;
    state = nodes_[state].suffix;
  }
}

}  // namespace scalpel::spec
