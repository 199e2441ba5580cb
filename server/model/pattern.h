// Regular expressions over UTF-8, by the library PCRE2.

#ifndef SCALPEL_SERVER_MODEL_PATTERN_H_
#define SCALPEL_SERVER_MODEL_PATTERN_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace scalpel::model {

// A compiled expression. Movable; const methods are thread-safe.
class Pattern {
 public:
  // Working memory of MatchAt, which a thread reuses for many matches.
  class Matches;

  // Compiles `expression`, in PCRE2's syntax. INTERNAL if it is not valid; the message gives the
  // byte.
  static absl::StatusOr<Pattern> Compile(const std::string& expression);

  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  // Returns the length in bytes of the match that begins at byte `begin` of `text`, or 0 if there
  // is none. `text` must be valid UTF-8. INTERNAL if PCRE2 fails, as by reaching one of its limits.
  absl::StatusOr<size_t> MatchAt(std::string_view text, size_t begin, Matches* matches) const;

 private:
  struct Code;
  explicit Pattern(std::unique_ptr<const Code> code);

  std::unique_ptr<const Code> code_;
};

// Not thread-safe.
class Pattern::Matches {
 public:
  // If memory is short, the object is empty and MatchAt returns RESOURCE_EXHAUSTED.
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
