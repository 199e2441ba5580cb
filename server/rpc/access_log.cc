#include "server/rpc/access_log.h"

#include <spdlog/spdlog.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace scalpel::rpc {
namespace {

// The fields of a line, in order. Unknown strings are left out.
nlohmann::ordered_json Fields(const Call& call, absl::string_view code,
                              std::optional<Reason> reason, absl::Duration total) {
  nlohmann::ordered_json fields;
  const auto add = [&fields](const char* name, absl::string_view value) {
    if (!value.empty()) fields[name] = std::string(value);
  };
  add("request", call.request_id);
  add("method", call.method);
  add("caller", call.caller);
  add("peer", call.peer);
  add("code", code);
  add("reason", reason ? ReasonWord(*reason) : "");
  fields["total_us"] = absl::ToInt64Microseconds(total);
  fields["queue_us"] = call.queue_us;
  fields["compute_us"] = call.compute_us;
  fields["tokens"] = call.tokens;
  fields["response_bytes"] = call.response_bytes;
  add("trace_id", call.trace.trace_id);
  add("span_id", call.trace.span_id);
  add("parent_span_id", call.trace.parent_span_id);
  return fields;
}

std::string AsText(const nlohmann::ordered_json& fields) {
  std::string line;
  for (const auto& [name, value] : fields.items()) {
    absl::StrAppend(&line, line.empty() ? "" : " ", name, "=",
                    value.is_string() ? absl::CHexEscape(value.get<std::string>()) : value.dump());
  }
  return line;
}

// `prefix`: the beginning of a text line; `message`: the member of that name in a JSON line.
void Log(spdlog::level::level_enum level, absl::string_view prefix, absl::string_view message,
         const nlohmann::ordered_json& fields) {
  const std::shared_ptr<spdlog::logger> json = spdlog::get(kAccessLogger);
  if (json == nullptr) {
    if (spdlog::should_log(level)) spdlog::log(level, "{}{}", std::string(prefix), AsText(fields));
    return;
  }
  nlohmann::ordered_json line = {{"message", std::string(message)}};
  line.update(fields);
  json->log(level, "{}",
            line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

}  // namespace

void LogCall(const Call& call, absl::string_view code, std::optional<Reason> reason,
             absl::Duration total) {
  Log(spdlog::level::info, "", "call", Fields(call, code, reason, total));
}

void LogSlowCall(const Call& call, absl::string_view code, std::optional<Reason> reason,
                 absl::Duration total) {
  Log(spdlog::level::warn, "slow call: ", "slow call", Fields(call, code, reason, total));
}

}  // namespace scalpel::rpc
