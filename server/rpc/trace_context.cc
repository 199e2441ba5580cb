#include "server/rpc/trace_context.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"

namespace scalpel::rpc {
namespace {

// version "-" trace-id "-" parent-id "-" trace-flags
constexpr size_t kVersionEnd = 2, kTraceBegin = 3, kTraceEnd = 35, kSpanBegin = 36, kSpanEnd = 52,
                 kFlagsBegin = 53, kFlagsEnd = 55;

bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsZero(absl::string_view text) {
  return text.find_first_not_of('0') == absl::string_view::npos;
}

// An id of all zeros would be invalid, but its probability is negligible.
std::string NewSpanId() { return absl::StrCat(absl::Hex(RandomBits(), absl::kZeroPad16)); }

}  // namespace

std::optional<TraceParent> ParseTraceParent(absl::string_view header) {
  if (header.size() < kFlagsEnd) return std::nullopt;
  const absl::string_view version = header.substr(0, kVersionEnd);
  const absl::string_view trace = header.substr(kTraceBegin, kTraceEnd - kTraceBegin);
  const absl::string_view span = header.substr(kSpanBegin, kSpanEnd - kSpanBegin);
  const absl::string_view flags = header.substr(kFlagsBegin, kFlagsEnd - kFlagsBegin);
  if (header[kVersionEnd] != '-' || header[kTraceEnd] != '-' || header[kSpanEnd] != '-')
    return std::nullopt;
  if (!IsHex(version) || !IsHex(trace) || !IsHex(span) || !IsHex(flags)) return std::nullopt;
  if (version == "ff" || IsZero(trace) || IsZero(span)) return std::nullopt;
  const bool more = header.size() > kFlagsEnd;
  if (more && (version == "00" || header[kFlagsEnd] != '-')) return std::nullopt;
  return TraceParent{std::string(trace), std::string(span)};
}

TraceContext Continue(std::optional<absl::string_view> header) {
  if (header) {
    if (std::optional<TraceParent> parent = ParseTraceParent(*header))
      return {
          .trace_id = parent->trace_id, .span_id = NewSpanId(), .parent_span_id = parent->span_id};
  }
  return {.trace_id = NewSpanId() + NewSpanId(), .span_id = NewSpanId(), .parent_span_id = ""};
}

uint64_t RandomBits() {
  thread_local std::mt19937_64 generator{(uint64_t{std::random_device{}()} << 32) |
                                         std::random_device{}()};
  return generator();
}

}  // namespace scalpel::rpc
