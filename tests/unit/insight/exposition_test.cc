// Metrics as a scraper sees them.

#include "server/insight/exposition.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "server/insight/process.h"
#include "server/insight/sources.h"

namespace scalpel::insight {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// The answer to `GET /metrics`, headers and all.
std::string Scrape(absl::string_view address) {
  int port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) << address;
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  const std::string request = "GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t count; (count = read(fd, buffer, sizeof(buffer))) > 0;)
    answer.append(buffer, static_cast<size_t>(count));
  close(fd);
  return answer;
}

TEST(Exposition, ShowsSourcesAsTheyAreAtEachScrape) {
  const auto sources = std::make_shared<Sources>();
  std::atomic<int> count = 3;
  sources->AddCounter("things_total", "Things.", [&] { return double(count); }, {{"kind", "a"}});
  sources->AddCounter("things_total", "Things.", [] { return 1.0; }, {{"kind", "b"}});
  sources->AddGauge("level", "A level.", [] { return 0.5; });
  const auto exposition = Exposition::Open("127.0.0.1:0", {sources});
  ASSERT_TRUE(exposition.ok()) << exposition.status();
  const std::string first = Scrape((*exposition)->address());
  EXPECT_THAT(first, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(first, HasSubstr("# HELP things_total Things.\n# TYPE things_total counter\n"
                               "things_total{kind=\"a\"} 3\nthings_total{kind=\"b\"} 1\n"));
  EXPECT_THAT(first, HasSubstr("# TYPE level gauge\nlevel 0.5\n"));
  count = 4;
  EXPECT_THAT(Scrape((*exposition)->address()), HasSubstr("things_total{kind=\"a\"} 4\n"));
}

TEST(Exposition, ShowsTheProcess) {
  const auto sources = std::make_shared<Sources>();
  AddProcess(*sources);
  const auto exposition = Exposition::Open("127.0.0.1:0", {sources});
  ASSERT_TRUE(exposition.ok()) << exposition.status();
  const std::string text = Scrape((*exposition)->address());
  for (const char* name :
       {"process_resident_memory_bytes", "scalpel_memory_limit_bytes", "process_open_fds",
        "process_max_fds", "process_cpu_seconds_total", "process_start_time_seconds"}) {
    EXPECT_THAT(text, testing::ContainsRegex(std::string("\n") + name + " ([1-9]|0\\.[0-9])"));
  }
}

TEST(Exposition, APortInUseIsAnError) {
  const auto first = Exposition::Open("127.0.0.1:0", {});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = Exposition::Open((*first)->address(), {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr((*first)->address()));
}

}  // namespace
}  // namespace scalpel::insight
