#include "client/cpp/axis_text.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/spec_request.h"

namespace scalpel::client {
namespace {

constexpr int64_t kListedMax = 8;
constexpr int64_t kRangeFrom = 4;  // this many evenly spaced indices are written as a range

// Returns a text such as `3, 7` or `2 to 10 by 2`.
std::string IndicesText(const v1::AxisIndices& axis) {
  const bool listed = !axis.values().empty();
  const int64_t count = listed ? axis.values_size() : axis.count();
  if (!listed && count >= kRangeFrom) {
    const std::string range =
        absl::StrCat(axis.start(), " to ", axis.start() + (count - 1) * axis.step());
    return axis.step() == 1 ? range : absl::StrCat(range, " by ", axis.step());
  }
  std::vector<int64_t> shown;
  for (int64_t i = 0; i < std::min(count, kListedMax); ++i) {
    shown.push_back(listed ? axis.values(static_cast<int>(i)) : axis.start() + i * axis.step());
  }
  return absl::StrCat(absl::StrJoin(shown, ", "), count > kListedMax ? ", ..." : "");
}

// Returns whether the indices are 0, 1, 2 and so on.
bool BeginsAtZero(const v1::AxisIndices& axis) {
  return axis.values().empty() && axis.start() == 0 && (axis.step() == 1 || axis.count() <= 1);
}

}  // namespace

std::string PartText(const google::protobuf::RepeatedPtrField<v1::AxisIndices>& axes) {
  std::vector<std::string> parts;
  for (const v1::AxisIndices& axis : axes) {
    if (!BeginsAtZero(axis)) {
      parts.push_back(absl::StrCat(NameOf(axis.axis()), " ", IndicesText(axis)));
    }
  }
  return absl::StrJoin(parts, "; ");
}

}  // namespace scalpel::client
