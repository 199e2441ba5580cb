// The output and its capabilities.

#ifndef SCALPEL_CLIENT_CPP_SCREEN_H_
#define SCALPEL_CLIENT_CPP_SCREEN_H_

#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace scalpel::client {

// A copyable reference to an output stream, which must outlive it.
struct Screen {
  std::ostream& out;
  int columns = 80;
  bool colour = false;
  bool terminal = false;  // printed text can be overwritten

  std::string Bold(absl::string_view text) const { return Styled("\x1b[1m", text); }
  std::string Dim(absl::string_view text) const { return Styled("\x1b[2m", text); }
  // For what differs from its counterpart; orange, which the colour-blind tell from the rest.
  std::string Marked(absl::string_view text) const { return Styled("\x1b[38;5;208m", text); }

 private:
  std::string Styled(absl::string_view code, absl::string_view text) const {
    return colour ? absl::StrCat(code, text, "\x1b[0m") : std::string(text);
  }
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SCREEN_H_
