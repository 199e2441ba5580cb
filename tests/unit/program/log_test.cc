#include "server/program/log.h"

#include <gtest/gtest.h>
#include <spdlog/details/log_msg.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/rpc/access_log.h"

namespace scalpel {
namespace {

const absl::Time kTime = absl::FromUnixMicros(1'800'000'000'123'456);

// A line as it is written.
std::string Line(const char* logger, absl::string_view text,
                 spdlog::level::level_enum level = spdlog::level::warn) {
  const spdlog::details::log_msg message(absl::ToChronoTime(kTime), spdlog::source_loc(), logger,
                                         level, spdlog::string_view_t(text.data(), text.size()));
  spdlog::memory_buf_t out;
  MakeJsonFormatter()->clone()->format(message, out);
  return std::string(out.data(), out.size());
}

TEST(JsonLog, EveryLineIsAnObject) {
  EXPECT_EQ(Line("scalpel", "say \"hello\"\n"),
            "{\"time\":\"2027-01-15T08:00:00.123456Z\",\"level\":\"warning\","
            "\"message\":\"say \\\"hello\\\"\\n\"}\n");
}

TEST(JsonLog, InvalidUtf8IsReplaced) {
  const auto line = nlohmann::json::parse(Line("scalpel", "a\xff\x01z"));
  EXPECT_EQ(line["message"], "a\xEF\xBF\xBD\x01z");
  EXPECT_EQ(nlohmann::json::parse(Line("scalpel", ""))["message"], "");
}

TEST(JsonLog, AccessLinesKeepTheirFields) {
  const auto line = nlohmann::json::parse(
      Line(rpc::kAccessLogger, R"({"message":"call","tokens":3})", spdlog::level::info));
  EXPECT_EQ(line.size(), 4u);
  EXPECT_EQ(line["level"], "info");
  EXPECT_EQ(line["message"], "call");
  EXPECT_EQ(line["tokens"], 3);
}

}  // namespace
}  // namespace scalpel
