// UTF-8, and the character classes of GPT-2's tokenizer.

#ifndef SCALPEL_SERVER_MODEL_UNICODE_H_
#define SCALPEL_SERVER_MODEL_UNICODE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace scalpel::model {

// Bodies of PCRE2 bracket expressions, for use as "[" kLetters "]", that match what \p{L}, \p{N},
// \s and \w match in HuggingFace's tokenizers (Unicode 16), whatever Unicode version PCRE2 knows.
extern const char kLetters[];
extern const char kNumbers[];
extern const char kSpaces[];
extern const char kWordCharacters[];

struct Utf8Step {
  size_t bytes;  // of the character, or of the invalid sequence to be replaced as one
  bool valid;
};

// The step at the beginning of `text`, which is not empty. An invalid sequence is as long as
// Unicode's "maximal subpart", which is what Rust and Python replace by one U+FFFD.
Utf8Step NextUtf8(std::string_view text);

// Bytes of the white space, one character of kSpaces, that valid UTF-8 begins or ends with; 0:
// none.
size_t SpaceBytesAtBegin(std::string_view text);
size_t SpaceBytesAtEnd(std::string_view text);

// The text with U+FFFD for every invalid sequence.
std::string ReplaceInvalidUtf8(std::string_view text);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_UNICODE_H_
