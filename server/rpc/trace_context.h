// Where a call stands in a distributed trace: W3C Trace Context,
// https://www.w3.org/TR/trace-context.

#ifndef SCALPEL_SERVER_RPC_TRACE_CONTEXT_H_
#define SCALPEL_SERVER_RPC_TRACE_CONTEXT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace scalpel::rpc {

// All in lower-case hexadecimal.
struct TraceContext {
  std::string trace_id;        // 32 digits
  std::string span_id;         // 16 digits: this call
  std::string parent_span_id;  // 16 digits: the caller's span; empty: the trace begins here
};

// What a `traceparent` says; nullopt: it is malformed, and so as good as none. Versions after 00
// are read as far as 00 goes.
struct TraceParent {
  std::string trace_id, span_id;
};
std::optional<TraceParent> ParseTraceParent(absl::string_view header);

// The context of a call that came with `header`; a new trace where that is absent or malformed.
TraceContext Continue(std::optional<absl::string_view> header);

// 64 random bits, for ids; not for secrets.
uint64_t RandomBits();

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_TRACE_CONTEXT_H_
