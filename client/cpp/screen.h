// Where text goes, and what it may look like there.

#ifndef SCALPEL_CLIENT_CPP_SCREEN_H_
#define SCALPEL_CLIENT_CPP_SCREEN_H_

#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace scalpel::client {

// An output and its shape. A copyable reference: whoever owns the stream outlives it.
struct Screen {
  std::ostream& out;
  int columns = 80;
  bool colour = false;
  bool terminal = false;  // what stands there can be replaced

  std::string Bold(absl::string_view text) const { return Styled("\x1b[1m", text); }
  std::string Dim(absl::string_view text) const { return Styled("\x1b[2m", text); }

 private:
  std::string Styled(absl::string_view code, absl::string_view text) const {
    return colour ? absl::StrCat(code, text, "\x1b[0m") : std::string(text);
  }
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SCREEN_H_
