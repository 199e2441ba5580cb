// Text for a terminal: what a server sends is made harmless, and measured in columns rather than
// bytes.

#ifndef SCALPEL_CLIENT_CPP_TEXT_H_
#define SCALPEL_CLIENT_CPP_TEXT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace scalpel::client {

// `text` with everything escaped that could move the cursor, change colours or reverse the writing
// direction: control and formatting characters become `\n`, `\x1b` or `\u202e`, bytes that are not
// UTF-8 become `\xff`.
std::string Printable(absl::string_view text);

// As Printable, in double quotes; quotes and backslashes inside are escaped, so that spaces at the
// ends can be seen.
std::string Quoted(absl::string_view text);

bool IsUtf8(absl::string_view text);

// How many columns of a terminal `text` takes: 2 for wide East Asian characters and emoji, 0 for
// combining marks.
int Columns(absl::string_view text);

// `text` cut to at most `columns`; what was cut is marked by `…`.
std::string Fit(absl::string_view text, int columns);

// Exactly `columns` wide: fitted, then filled with spaces on the right, or on the left.
std::string PadRight(absl::string_view text, int columns);
std::string PadLeft(absl::string_view text, int columns);

// Four significant digits, at most 10 characters: `0.1235`, `-1.235e-05`, `nan`.
std::string Number(double value);

// `13,238,272`.
std::string Thousands(int64_t value);

// `512 B`, `39.9 KiB`, `1.5 GiB`.
std::string Bytes(uint64_t bytes);

// `1 prompt`, `2 prompts`, `1,024 tokens`.
std::string Count(int64_t count, absl::string_view singular);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_TEXT_H_
