// Finds strings in a text that arrives byte by byte, with the automaton of Aho and Corasick (1975):
// the time for each byte does not depend on how many strings there are or how they repeat.

#ifndef SCALPEL_SERVER_SPEC_STOP_STRINGS_H_
#define SCALPEL_SERVER_SPEC_STOP_STRINGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace scalpel::spec {

// Immutable, so that all streams of a generation share it.
class StopStrings {
 public:
  // What is known of a text: the longest beginning of a string that the text ends with.
  using State = int32_t;
  static constexpr State kStart = 0;

  // `strings`: none of them empty.
  explicit StopStrings(std::vector<std::string> strings);
  // Texts' states are its own, but the strings found lie in it.
  StopStrings(const StopStrings&) = delete;
  StopStrings& operator=(const StopStrings&) = delete;

  // Returns the state after one more byte.
  State Next(State state, char byte) const;

  // Returns the longest string with which the text ends; nullptr if there is none.
  const std::string* EndOf(State state) const {
    return nodes_[state].string < 0 ? nullptr : &strings_[nodes_[state].string];
  }

 private:
  static constexpr int32_t kNone = -1;
  // A beginning of a string; the first is empty.
  struct Node {
    State suffix = kStart;   // the longest other beginning with which this one ends
    int32_t string = kNone;  // the longest string with which it ends
  };

  static uint64_t Key(State state, char byte) {
    return static_cast<uint64_t>(state) << 8 | static_cast<unsigned char>(byte);
  }

  const std::vector<std::string> strings_;
  std::vector<Node> nodes_;
  absl::flat_hash_map<uint64_t, State> longer_;  // beginnings that are longer by one byte
};

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_STOP_STRINGS_H_
