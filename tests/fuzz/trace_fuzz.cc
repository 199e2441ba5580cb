// Fuzzes what a caller's metadata puts into the log: traceparent, the request id, and the other
// fields of an access log line. A line stays one line, as text and as JSON.

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "absl/strings/ascii.h"
#include "server/program/log.h"
#include "server/rpc/access_log.h"
#include "server/rpc/trace_context.h"
#include "tests/fuzz/fuzz.h"

namespace {

using scalpel::rpc::Call;

// The standard's grammar, written a second time.
bool IsTraceParent(std::string_view text) {
  constexpr std::string_view kForm = "xx-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
  if (text.size() < kForm.size()) return false;
  for (size_t i = 0; i < kForm.size(); ++i) {
    const bool digit = absl::ascii_isdigit(text[i]) || (text[i] >= 'a' && text[i] <= 'f');
    if (kForm[i] == 'x' ? !digit : text[i] != '-') return false;
  }
  const bool zero =
      text.substr(3, 32) == std::string(32, '0') || text.substr(36, 16) == std::string(16, '0');
  const std::string_view version = text.substr(0, 2), rest = text.substr(kForm.size());
  return !zero && version != "ff" && (rest.empty() || (version != "00" && rest[0] == '-'));
}

// What is logged of a call, as text or as JSON.
std::string Line(const Call& call, bool json) {
  std::ostringstream out;
  auto logger =
      std::make_shared<spdlog::logger>(json ? scalpel::rpc::kAccessLogger : "text",
                                       std::make_shared<spdlog::sinks::ostream_sink_mt>(out));
  if (json) {
    logger->set_formatter(scalpel::MakeJsonFormatter());
    spdlog::register_logger(logger);
  } else {
    spdlog::set_default_logger(logger);
  }
  scalpel::rpc::LogSlowCall(call, "OK", std::nullopt, absl::Milliseconds(1));
  if (json) spdlog::drop(scalpel::rpc::kAccessLogger);
  return out.str();
}

void CheckLines(const Call& call) {
  std::string line = Line(call, false);
  HOLDS(!line.empty() && line.back() == '\n');
  line.pop_back();
  for (const char c : line) HOLDS(absl::ascii_isprint(c));

  line = Line(call, true);
  HOLDS(line.find('\n') == line.size() - 1);
  const auto object = nlohmann::json::parse(line);
  HOLDS(object.value("request", "") == scalpel::ReplaceInvalidUtf8(call.request_id));
  HOLDS(object.value("peer", "") == scalpel::ReplaceInvalidUtf8(call.peer));
}

}  // namespace

// The input's lines are the request id, the caller and the traceparent; the rest is the peer.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = scalpel::fuzz::Text(data, size);
  Call call;
  call.request_id = scalpel::fuzz::Cut(&text, '\n');
  call.caller = scalpel::fuzz::Cut(&text, '\n');
  const std::string header(scalpel::fuzz::Cut(&text, '\n'));
  call.peer = text;
  call.trace = scalpel::rpc::Continue(header);
  const auto parent = scalpel::rpc::ParseTraceParent(header);
  HOLDS(parent.has_value() == IsTraceParent(header));
  HOLDS(!parent || call.trace.trace_id == header.substr(3, 32));
  HOLDS(call.trace.parent_span_id == (parent ? header.substr(36, 16) : ""));
  HOLDS(call.trace.trace_id.size() == 32 && call.trace.span_id.size() == 16);
  if (scalpel::rpc::IsRequestId(call.request_id))
    HOLDS(call.request_id.size() <= 64 &&
          Line(call, false).find(call.request_id) != std::string::npos);
  CheckLines(call);
  return 0;
}
