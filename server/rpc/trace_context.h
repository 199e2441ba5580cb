// The place of a call in a distributed trace, by W3C Trace Context
// (https://www.w3.org/TR/trace-context). All functions are thread-safe.

#ifndef SCALPEL_SERVER_RPC_TRACE_CONTEXT_H_
#define SCALPEL_SERVER_RPC_TRACE_CONTEXT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace scalpel::rpc {

// The ids are in lower-case hexadecimal.
struct TraceContext {
  std::string trace_id;        // 32 digits
  std::string span_id;         // 16 digits, of this call
  std::string parent_span_id;  // 16 digits, of the caller's span; empty if the trace begins here
};

// The ids in a `traceparent` header.
struct TraceParent {
  std::string trace_id, span_id;
};
// Parses a `traceparent` header; nullopt if it is malformed, and so to be ignored. Of versions
// after 00, only the fields of version 00 are read.
std::optional<TraceParent> ParseTraceParent(absl::string_view header);

// Returns the context of a call with this `traceparent` header; it begins a new trace if the header
// is absent or malformed.
TraceContext Continue(std::optional<absl::string_view> header);

// Returns 64 random bits for ids. They are not suitable for secrets.
uint64_t RandomBits();

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_TRACE_CONTEXT_H_
