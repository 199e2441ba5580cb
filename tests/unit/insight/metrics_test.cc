#include "server/insight/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace scalpel::insight {
namespace {

using testing::HasSubstr;

constexpr absl::string_view kTwo[] = {"GetModel", "Run"};

std::string Text(const Metrics& metrics) {
  return prometheus::TextSerializer().Serialize(metrics.registry()->Collect());
}

TEST(Metrics, EverySeriesExistsFromTheStart) {
  const std::string text = Text(Metrics(kTwo));
  for (const char* line : {"scalpel_calls_total{code=\"OK\",method=\"Run\"} 0\n",
                           "scalpel_calls_in_progress{method=\"GetModel\"} 0\n",
                           "scalpel_call_duration_seconds_count{method=\"Run\"} 0\n",
                           "scalpel_slow_calls_total{method=\"Run\"} 0\n",
                           "scalpel_rejections_total{reason=\"queue_full\"} 0\n",
                           "scalpel_tensor_bytes_total{method=\"Run\"} 0\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(Metrics, AComputedCallIsCountedWithItsTimes) {
  Metrics metrics(kTwo);
  metrics.CallBegan("Run");
  metrics.CallBegan("Run");
  metrics.CallEnded({.method = "Run",
                     .code = "OK",
                     .total = absl::Milliseconds(40),
                     .computed = true,
                     .queue = absl::Milliseconds(10),
                     .compute = absl::Milliseconds(20),
                     .tokens = 7,
                     .response_bytes = 5000,
                     .tensor_bytes = 4096,
                     .slow = true});
  const std::string text = Text(metrics);
  for (const char* line : {"scalpel_calls_total{code=\"OK\",method=\"Run\"} 1\n",
                           "scalpel_calls_in_progress{method=\"Run\"} 1\n",
                           "scalpel_call_duration_seconds_bucket{method=\"Run\",le=\"0.025\"} 0\n",
                           "scalpel_call_duration_seconds_bucket{method=\"Run\",le=\"0.05\"} 1\n",
                           "scalpel_call_queue_duration_seconds_sum{method=\"Run\"} 0.01\n",
                           "scalpel_call_compute_duration_seconds_sum{method=\"Run\"} 0.02\n",
                           "scalpel_call_tokens_total{method=\"Run\"} 7\n",
                           "scalpel_response_bytes_total{method=\"Run\"} 5000\n",
                           "scalpel_tensor_bytes_total{method=\"Run\"} 4096\n",
                           "scalpel_slow_calls_total{method=\"Run\"} 1\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(Metrics, ARefusedCallHasAReasonAndNoComputation) {
  Metrics metrics(kTwo);
  metrics.CallBegan("Run");
  metrics.CallEnded({.method = "Run", .code = "RESOURCE_EXHAUSTED", .reason = Reason::kQueueFull});
  const std::string text = Text(metrics);
  EXPECT_THAT(text, HasSubstr("{code=\"RESOURCE_EXHAUSTED\",method=\"Run\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("scalpel_rejections_total{reason=\"queue_full\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("scalpel_call_queue_duration_seconds_count{method=\"Run\"} 0\n"));
  EXPECT_EQ(metrics.Rejections().at("queue_full"), 1);
  EXPECT_EQ(metrics.Rejections().at("invalid"), 0);
}

TEST(Metrics, IsThreadSafe) {
  Metrics metrics(kTwo);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int call = 0; call < 250; ++call) {
        metrics.CallBegan("Run");
        metrics.CallEnded({.method = "Run", .code = "OK", .computed = true, .tokens = 2});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string text = Text(metrics);
  EXPECT_THAT(text, HasSubstr("scalpel_calls_total{code=\"OK\",method=\"Run\"} 1000\n"));
  EXPECT_THAT(text, HasSubstr("scalpel_calls_in_progress{method=\"Run\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("scalpel_call_tokens_total{method=\"Run\"} 2000\n"));
}

}  // namespace
}  // namespace scalpel::insight
