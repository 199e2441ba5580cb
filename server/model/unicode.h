// The character classes of GPT-2's tokenizer.

#ifndef SCALPEL_SERVER_MODEL_UNICODE_H_
#define SCALPEL_SERVER_MODEL_UNICODE_H_

#include <cstddef>
#include <string_view>

namespace scalpel::model {

// Bodies of PCRE2 bracket expressions, for use as "[" kLetters "]", that match what \p{L}, \p{N},
// \s and \w match in HuggingFace's tokenizers (Unicode 16), whatever Unicode version PCRE2 knows.
extern const char kLetters[];
extern const char kNumbers[];
extern const char kSpaces[];
extern const char kWordCharacters[];

// Bytes of the white space, one character of kSpaces, that valid UTF-8 begins or ends with; 0:
// none.
size_t SpaceBytesAtBegin(std::string_view text);
size_t SpaceBytesAtEnd(std::string_view text);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_UNICODE_H_
