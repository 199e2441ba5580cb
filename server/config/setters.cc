#include "server/config/setters.h"

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace scalpel {
namespace {

bool IsVisibleAscii(absl::string_view text) {
  return absl::c_all_of(text, [](unsigned char byte) { return byte > 0x20 && byte < 0x7F; });
}

}  // namespace

std::string SetInteger(absl::string_view text, int64_t least, int64_t most, int64_t* out) {
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < least || value > most) {
    return absl::StrCat("is not a whole number in [", least, ", ", most, "]");
  }
  *out = value;
  return "";
}

std::string SetInteger(absl::string_view text, int64_t least, int64_t most, int32_t* out) {
  int64_t wide = 0;
  std::string problem = SetInteger(text, least, most, &wide);
  if (problem.empty()) *out = static_cast<int32_t>(wide);
  return problem;
}

std::string SetSwitch(absl::string_view text, bool* out) {
  const bool yes = text == "true" || text == "1";
  if (!yes && text != "false" && text != "0") return "is not one of true, false";
  *out = yes;
  return "";
}

std::string SetChoice(absl::string_view text, absl::Span<const absl::string_view> choices,
                      std::string* out) {
  std::string known;
  for (const absl::string_view choice : choices) {
    if (text == choice) {
      *out = std::string(text);
      return "";
    }
    absl::StrAppend(&known, known.empty() ? "" : ", ", choice);
  }
  return absl::StrCat("is not one of ", known);
}

std::string SetPath(absl::string_view text, absl::string_view what, std::filesystem::path* out) {
  if (text.empty()) return absl::StrCat("is empty; give ", what);
  *out = std::string(text);
  return "";
}

std::string SetName(absl::string_view text, size_t most, std::string* out) {
  if (!IsVisibleAscii(text)) return "has spaces or bytes that are not ASCII; leave them out";
  if (text.empty() || text.size() > most) {
    return absl::StrCat("is not 1 to ", most, " characters long");
  }
  *out = std::string(text);
  return "";
}

std::string SetAddress(absl::string_view text, std::string* out) {
  constexpr char kProblem[] = "is not HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051";
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) return kProblem;
  const absl::string_view host = text.substr(0, colon);
  const bool bracketed = host.front() == '[' && host.back() == ']';
  if (!bracketed && host.find_first_of(":[]/") != absl::string_view::npos) return kProblem;
  if (!IsVisibleAscii(host)) return kProblem;
  int32_t port = 0;
  if (!SetInteger(text.substr(colon + 1), 0, 65535, &port).empty()) return kProblem;
  *out = std::string(text);
  return "";
}

}  // namespace scalpel
