// A regular expression over UTF-8, by PCRE2.

#ifndef SCALPEL_SERVER_MODEL_PATTERN_H_
#define SCALPEL_SERVER_MODEL_PATTERN_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace scalpel::model {

// Immutable after Compile: const methods are thread-safe. Movable.
class Pattern {
 public:
  // Scratch space of matches, for one thread at a time.
  class Matches;

  // INTERNAL, with the byte, if PCRE2 refuses the expression.
  static absl::StatusOr<Pattern> Compile(const std::string& expression);

  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  // Bytes that the expression matches at byte `begin` of `text`, which is valid UTF-8; 0: it
  // matches nothing there. INTERNAL if PCRE2 gives up.
  absl::StatusOr<size_t> MatchAt(std::string_view text, size_t begin, Matches* matches) const;

 private:
  struct Code;
  explicit Pattern(std::unique_ptr<const Code> code);

  std::unique_ptr<const Code> code_;
};

class Pattern::Matches {
 public:
  // May be empty when memory is short: then MatchAt answers RESOURCE_EXHAUSTED.
  Matches();
  Matches(Matches&&) noexcept;
  ~Matches();

 private:
  friend class Pattern;
  struct Data;
  std::unique_ptr<Data> data_;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_PATTERN_H_
