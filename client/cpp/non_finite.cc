#include "client/cpp/non_finite.h"

#include "absl/strings/str_cat.h"
#include "client/cpp/spec_request.h"
#include "client/cpp/table.h"

namespace scalpel::client {
namespace {

// Returns a text such as `resid_post, layer 9, prompt 0, position 3, made by an intervention`.
std::string PlaceText(const v1::FirstNonFinite& first) {
  std::string text = NameOf(first.site());
  if (first.has_layer()) absl::StrAppend(&text, ", layer ", first.layer());
  if (first.has_head()) absl::StrAppend(&text, ", head ", first.head());
  absl::StrAppend(&text, ", prompt ", first.prompt(), ", position ", first.position());
  if (first.by_intervention()) text += ", made by an intervention";
  if (first.clean()) text += ", in the clean run";
  return text;
}

}  // namespace

void PrintNonFinite(const Screen& screen, const std::string& whose,
                    const v1::FirstNonFinite& first) {
  screen.out << "\n" << screen.Bold("not finite") << "\n";
  const std::string text = absl::StrCat(whose, whose.empty() ? "" : ": ", PlaceText(first));
  for (const std::string& line : Wrapped(text, screen.columns - 2))
    screen.out << "  " << line << "\n";
}

}  // namespace scalpel::client
