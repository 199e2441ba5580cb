// Calls that wait, stall, are cancelled or reach their deadline.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/unit/rpc/patience.h"
#include "tests/unit/rpc/service_fixture.h"

namespace scalpel::rpc {
namespace {

using testing::SizeIs;

// A service with little patience for those who read nothing.
class StallTest : public ServiceTest {
 protected:
  StallTest() : ServiceTest(/*reader_patience=*/absl::Milliseconds(400)) {}
};

TEST_F(StallTest, ACallWhoseReaderStopsIsCancelled) {
  Open();
  const auto data = std::make_shared<std::string>(32 << 20, 'd');  // more than gRPC takes ahead
  EngineDoes([&](engine::Job& job) {
    engine::Event event;
    event.tensor = engine::TensorEvent{.header = {}, .bytes = *data, .owner = data};
    job.stream().Push(std::move(event));
    job.stream().Close(absl::OkStatus());
  });
  grpc::ClientContext context;
  const auto reader = stub_->Run(&context, SmallRequest());
  v1::RunResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_TRUE(service_.WaitIdle(absl::Now() + kPatience)) << "it was waited for";
  while (reader->Read(&response)) continue;
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(StallTest, ASlowEngineIsWaitedFor) {
  Open();
  EngineDoes([&](engine::Job& job) {
    for (int i = 0; i < 4; ++i) {
      absl::SleepFor(absl::Milliseconds(300));
      job.stream().Push(Report(i));
    }
    job.stream().Close(absl::OkStatus());
  });
  std::vector<v1::RunResponse> responses;
  EXPECT_TRUE(Run(SmallRequest(), &responses).ok());
  EXPECT_THAT(responses, SizeIs(5));
}

// As many requests are being compiled as can be, and one more waits for its turn.
TEST_F(ServiceTest, WhileRequestsAreCompiledTheRestIsServed) {
  Open();
  absl::Notification released;
  std::atomic<int> held = 0;
  submit_ = [&](auto job) {
    ++held;
    released.WaitForNotification();
    job->stream().Close(absl::OkStatus());
    return absl::OkStatus();
  };
  for (int i = 0; i < 2; ++i) {
    threads_.emplace_back([this] {
      std::vector<v1::RunResponse> responses;
      EXPECT_TRUE(Run(SmallRequest(), &responses).ok());
    });
  }
  const absl::Time give_up = absl::Now() + kPatience;
  while (held < 2 && absl::Now() < give_up) absl::SleepFor(absl::Milliseconds(1));
  ASSERT_EQ(held, 2);

  grpc::ClientContext impatient;
  impatient.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(100)));
  std::vector<v1::RunResponse> responses;
  EXPECT_EQ(Run(SmallRequest(), &responses, &impatient).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  int64_t under_way = 3;
  while (under_way > 2 && absl::Now() < give_up) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(give_up));
    v1::GetStatusResponse status;
    ASSERT_TRUE(stub_->GetStatus(&context, {}, &status).ok());
    for (const v1::MethodStatus& method : status.methods()) {
      if (method.method() == "Run") under_way = method.calls();
    }
  }
  EXPECT_EQ(under_way, 2) << "the call that has left holds its place";
  released.Notify();
  EXPECT_TRUE(service_.WaitIdle(absl::Now() + kPatience));
  EXPECT_EQ(held, 2) << "it was compiled after it had left";
}

TEST_F(ServiceTest, CancellingReachesTheEngine) {
  Open();
  std::promise<void> seen;
  EngineDoes([&](engine::Job& job) {
    while (!job.stream().cancelled()) absl::SleepFor(absl::Milliseconds(1));
    seen.set_value();
    job.stream().Close(absl::CancelledError(""));
  });
  grpc::ClientContext context;
  const auto reader = stub_->Run(&context, SmallRequest());
  v1::RunResponse response;
  ASSERT_TRUE(reader->Read(&response));
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(seen.get_future().wait_for(absl::ToChronoSeconds(kPatience)),
            std::future_status::ready);
}

TEST_F(ServiceTest, TheDeadlineReachesTheEngineAndEndsTheCall) {
  Open();
  std::promise<absl::Time> told;
  EngineDoes([&](engine::Job& job) {
    told.set_value(job.stream().deadline());
    while (!job.stream().cancelled()) absl::SleepFor(absl::Milliseconds(1));
    job.stream().Close(absl::DeadlineExceededError(""));
  });
  const absl::Time expected = absl::Now() + absl::Milliseconds(300);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(expected));
  std::vector<v1::RunResponse> responses;
  EXPECT_EQ(Run(SmallRequest(), &responses, &context).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(service_.WaitIdle(absl::Now() + kPatience));
  EXPECT_LT(absl::AbsDuration(told.get_future().get() - expected), absl::Milliseconds(100));
}

TEST_F(ServiceTest, ASlowReaderDelaysNeitherEngineNorOthers) {
  Open();
  const auto data = std::make_shared<std::string>(size_t{64} << 20, 'd');
  std::atomic<int> pushed = 0;
  EngineDoes([&](engine::Job& job) {
    engine::Event event;
    event.tensor = engine::TensorEvent{.header = {}, .bytes = *data, .owner = data};
    job.stream().Push(std::move(event));
    ++pushed;
    job.stream().Close(absl::OkStatus());
  });
  grpc::ClientContext slow;
  const auto reader = stub_->Run(&slow, SmallRequest());
  v1::RunResponse response;
  ASSERT_TRUE(reader->Read(&response));
  std::vector<v1::RunResponse> responses;
  EXPECT_TRUE(Run(SmallRequest(), &responses).ok());
  EXPECT_EQ(pushed, 2);
  EXPECT_FALSE(service_.WaitIdle(absl::Now() + absl::Milliseconds(100)))
      << "the slow call is under way";
  size_t bytes = 0;
  while (reader->Read(&response)) bytes += response.tensor_chunk().data().size();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(bytes, data->size());
}

// For the sanitizers: calls end in every way while the engine is in the middle of a push.
TEST_F(ServiceTest, CallsMayEndAtAnyMoment) {
  Open();
  EngineDoes([](engine::Job& job) {
    for (int i = 0; i < 200 && !job.stream().cancelled(); ++i) job.stream().Push(Report(i));
    job.stream().Close(absl::OkStatus());
  });
  int whole = 0;
  for (int round = 0; round < 150; ++round) {
    grpc::ClientContext context;
    if (round % 3 == 1) {
      context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Microseconds(40 * round)));
    }
    const auto reader = stub_->Run(&context, SmallRequest());
    v1::RunResponse response;
    int read = 0;
    while (reader->Read(&response)) {
      if (++read == round && round % 3 == 2) context.TryCancel();
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok() || round % 3 != 0) << status.error_message();
    EXPECT_TRUE(!status.ok() || read == 201) << read;
    whole += status.ok();
  }
  EXPECT_GE(whole, 50);
}

}  // namespace
}  // namespace scalpel::rpc
