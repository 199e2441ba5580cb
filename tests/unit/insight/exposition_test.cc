// Metrics as a scraper sees them.

#include "server/insight/exposition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "server/insight/process.h"
#include "server/insight/sources.h"
#include "tests/unit/insight/http_client.h"

namespace scalpel::insight {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string Scrape(absl::string_view address) { return Ask(address, "GET /metrics"); }

TEST(Exposition, ShowsSourcesAsTheyAreAtEachScrape) {
  const auto sources = std::make_shared<Sources>();
  std::atomic<int> count = 3;
  sources->AddCounter("things_total", "Things.", [&] { return double(count); }, {{"kind", "a"}});
  sources->AddCounter("things_total", "Things.", [] { return 1.0; }, {{"kind", "b"}});
  sources->AddGauge("level", "A level.", [] { return 0.5; });
  const auto exposition = ExposeMetrics("127.0.0.1:0", {sources});
  ASSERT_TRUE(exposition.ok()) << exposition.status();
  const std::string first = Scrape((*exposition)->address());
  EXPECT_THAT(first, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(first, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(first, HasSubstr("# HELP things_total Things.\n# TYPE things_total counter\n"
                               "things_total{kind=\"a\"} 3\nthings_total{kind=\"b\"} 1\n"));
  EXPECT_THAT(first, HasSubstr("# TYPE level gauge\nlevel 0.5\n"));
  count = 4;
  EXPECT_THAT(Scrape((*exposition)->address()), HasSubstr("things_total{kind=\"a\"} 4\n"));
}

TEST(Exposition, ShowsTheProcess) {
  const auto sources = std::make_shared<Sources>();
  AddProcess(*sources);
  const auto exposition = ExposeMetrics("127.0.0.1:0", {sources});
  ASSERT_TRUE(exposition.ok()) << exposition.status();
  const std::string text = Scrape((*exposition)->address());
  for (const char* name :
       {"process_resident_memory_bytes", "scalpel_memory_limit_bytes", "process_open_fds",
        "process_max_fds", "process_cpu_seconds_total", "process_start_time_seconds"}) {
    EXPECT_THAT(text, testing::ContainsRegex(std::string("\n") + name + " ([1-9]|0\\.[0-9])"));
  }
}

TEST(Exposition, APortInUseIsAnError) {
  const auto first = ExposeMetrics("127.0.0.1:0", {});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = ExposeMetrics((*first)->address(), {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr((*first)->address()));
}

}  // namespace
}  // namespace scalpel::insight
