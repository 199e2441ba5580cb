// The Unicode character classes of GPT-2's tokenizer.

#ifndef SCALPEL_SERVER_MODEL_UNICODE_H_
#define SCALPEL_SERVER_MODEL_UNICODE_H_

#include <cstddef>
#include <string_view>

namespace scalpel::model {

// Bodies of PCRE2 bracket expressions, for use as "[" kLetters "]". They match what \p{L}, \p{N},
// \s and \w match in HuggingFace's tokenizers (Unicode 16), even if PCRE2 was built for an older
// Unicode.
extern const char kLetters[];
extern const char kNumbers[];
extern const char kSpaces[];
extern const char kWordCharacters[];

// Return the length in bytes of the character of kSpaces that `text` begins or ends with, or 0 if
// there is none. `text` must be valid UTF-8.
size_t SpaceBytesAtBegin(std::string_view text);
size_t SpaceBytesAtEnd(std::string_view text);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_UNICODE_H_
