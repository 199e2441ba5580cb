#include "server/program/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "server/rpc/access_log.h"

namespace scalpel {
namespace {

absl::string_view View(spdlog::string_view_t text) { return {text.data(), text.size()}; }

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const nlohmann::ordered_json begin = {
        {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::FromChrono(message.time),
                                  absl::UTCTimeZone())},
        {"level", std::string(View(spdlog::level::to_string_view(message.level)))}};
    const absl::string_view payload = View(message.payload);
    const bool object = View(message.logger_name) == rpc::kAccessLogger;
    const std::string rest =
        object ? std::string(payload) : Dump({{"message", std::string(payload)}});
    // Joins the two objects into one.
    const std::string line =
        absl::StrCat(absl::StripSuffix(Dump(begin), "}"), ",", absl::StripPrefix(rest, "{"), "\n");
    out.append(line.data(), line.data() + line.size());
  }

  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }

 private:
  static std::string Dump(const nlohmann::ordered_json& object) {
    return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  }
};

}  // namespace

std::unique_ptr<spdlog::formatter> MakeJsonFormatter() { return std::make_unique<JsonFormatter>(); }

bool LogsJson() { return spdlog::get(rpc::kAccessLogger) != nullptr; }

void StartLog(const std::string& level, LogFormat format) {
  setenv("GRPC_VERBOSITY", "NONE", 0);  // gRPC's own log adds nothing to the statuses it returns
  if (format == LogFormat::kText) {
    spdlog::set_default_logger(spdlog::stderr_color_mt("scalpel"));
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  } else {
    spdlog::set_default_logger(spdlog::stderr_logger_mt("scalpel"));
    spdlog::stderr_logger_mt(rpc::kAccessLogger);  // both share stderr's lock: lines do not mix
    spdlog::set_formatter(MakeJsonFormatter());
  }
  spdlog::set_level(spdlog::level::from_str(level));
}

}  // namespace scalpel
