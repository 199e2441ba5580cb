// Text of captures for requests.

#ifndef SCALPEL_TESTS_UNIT_ENGINE_CAPTURE_H_
#define SCALPEL_TESTS_UNIT_ENGINE_CAPTURE_H_

#include <string>

#include "absl/strings/str_cat.h"

namespace scalpel::engine {

// A capture of a site, with `more` of its fields.
inline std::string Capture(const std::string& name, const std::string& site,
                           const std::string& more = "") {
  return absl::StrCat(" captures { name: \"", name, "\" place { site: SITE_", site, " } ", more,
                      " }");
}

}  // namespace scalpel::engine

#endif  // SCALPEL_TESTS_UNIT_ENGINE_CAPTURE_H_
