// The text of a stream of tokens, as it grows: in whole characters, and up to the first stop
// string.

#ifndef SCALPEL_SERVER_SPEC_GENERATED_TEXT_H_
#define SCALPEL_SERVER_SPEC_GENERATED_TEXT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "server/model/tokenizer.h"
#include "server/spec/stop_strings.h"

namespace scalpel::spec {

// Takes time and memory that are linear in the text. Not thread-safe.
class GeneratedText {
 public:
  // Both must outlive it. Without a tokenizer, nullptr, no token has a text.
  GeneratedText(const model::Tokenizer* tokenizer, const StopStrings& stops)
      : tokenizer_(tokenizer), stops_(stops) {}

  // Takes the next token, and returns the characters that are complete now; an id without a token
  // adds none. A token may end within a character, whose bytes then wait for the next. What can no
  // longer become a character is U+FFFD, so that all that is returned, put together, is the decoded
  // text of all tokens.
  std::string Add(int32_t id);

  // The stream has ended. Returns U+FFFD if it did so within a character, else nothing; no stop
  // string is looked for in it.
  std::string Finish();

  // The first stop string: that which ends first in the text, of those that end there the longest.
  // nullptr until there is one.
  const std::string* stop() const { return stop_; }

  // The text so far, up to the stop string.
  absl::string_view text() const {
    return stop_ == nullptr ? absl::string_view(text_)
                            : absl::string_view(text_).substr(0, stop_begin_);
  }

 private:
  const model::Tokenizer* const tokenizer_;
  const StopStrings& stops_;
  std::string unfinished_;  // bytes of a character whose others have not come yet
  std::string text_;        // all of it, so that its part before a stop string is there
  StopStrings::State state_ = StopStrings::kStart;
  const std::string* stop_ = nullptr;
  size_t stop_begin_ = 0;
};

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_GENERATED_TEXT_H_
