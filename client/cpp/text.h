// Text for a terminal: escapes what a server sends, and measures text in columns. All functions are
// thread-safe.

#ifndef SCALPEL_CLIENT_CPP_TEXT_H_
#define SCALPEL_CLIENT_CPP_TEXT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace scalpel::client {

// Escapes everything that could move the cursor, change colours or reverse the writing direction:
// control and formatting characters become, for example, `\n`, `\x1b` or `\u202e`, and bytes that
// are not UTF-8 become, for example, `\xff`.
std::string Printable(absl::string_view text);

// As Printable, but in double quotes, which make spaces at the ends visible; quotes and backslashes
// inside are escaped.
std::string Quoted(absl::string_view text);

bool IsUtf8(absl::string_view text);

// Returns the width of `text` in columns of a terminal. Wide East Asian characters and emoji take
// 2, and combining marks 0.
int Columns(absl::string_view text);

// Cuts `text` to at most `columns`, the last of which is `…` if something was cut.
std::string Fit(absl::string_view text, int columns);

// Cut `text` or pad it with spaces, on the right or on the left, to exactly `columns`.
std::string PadRight(absl::string_view text, int columns);
std::string PadLeft(absl::string_view text, int columns);

// Formats with four significant digits in at most 10 characters: `0.1235`, `-1.235e-05`, `nan`.
std::string Number(double value);

// Formats with separators, as in `13,238,272`.
std::string Thousands(int64_t value);

// Formats a size, as in `512 B`, `39.9 KiB`, `1.5 GiB`.
std::string Bytes(uint64_t bytes);

// Formats a count with its noun, as in `1 prompt`, `2 prompts`, `1,024 tokens`.
std::string Count(int64_t count, absl::string_view singular);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_TEXT_H_
