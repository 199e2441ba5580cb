// What the streaming methods send, in which order, and which jobs they give to the engine.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "tests/unit/rpc/service_fixture.h"

namespace scalpel::rpc {
namespace {

using testing::SizeIs;

TEST_F(ServiceTest, EventsArriveInOrderAndTensorsInChunks) {
  Open();
  const auto data = std::make_shared<std::string>(2 * limits_->chunk_bytes() + 12, 'd');
  EngineDoes([&](engine::Job& job) {
    job.stream().Push(Report(1));
    engine::TensorEvent tensor{.header = {}, .bytes = *data, .owner = data};
    tensor.header.set_name("big");
    engine::Event event;
    event.tensor = std::move(tensor);
    job.stream().Push(std::move(event));
    job.stream().Push(Report(2));
    job.stream().Close(absl::OkStatus());
  });
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "study-7.a");
  std::vector<v1::RunResponse> responses;
  const grpc::Status status = Run(SmallRequest(), &responses, &context);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(context.GetServerInitialMetadata().find("x-request-id")->second, "study-7.a");
  ASSERT_EQ(responses.size(), 6u);
  EXPECT_EQ(responses[0].started().request_id(), "study-7.a");
  EXPECT_EQ(responses[0].started().normalized().model(), "small");
  EXPECT_EQ(responses[1].intervention_report().index(), 1);
  EXPECT_EQ(responses[2].tensor_chunk().header().name(), "big");
  EXPECT_EQ(responses[2].tensor_chunk().data().size(), limits_->chunk_bytes());
  EXPECT_EQ(responses[4].tensor_chunk().data().size(), 12u);
  EXPECT_EQ(responses[5].intervention_report().index(), 2);
}

TEST_F(ServiceTest, ValidateOnlyIsOneEventAndNoJob) {
  Open();
  v1::RunRequest request = SmallRequest();
  request.set_validate_only(true);
  std::vector<v1::RunResponse> responses;
  ASSERT_TRUE(Run(request, &responses).ok());
  ASSERT_EQ(responses.size(), 1u);
  EXPECT_EQ(responses[0].started().cost().tokens(), 1);
}

TEST_F(ServiceTest, InvalidRequestIdsAreReplaced) {
  Open();
  v1::RunRequest request = SmallRequest();
  request.set_validate_only(true);
  for (const std::string& id : {std::string("a b"), std::string(65, 'a'), std::string("a\"b")}) {
    grpc::ClientContext context;
    context.AddMetadata("x-request-id", id);
    std::vector<v1::RunResponse> responses;
    ASSERT_TRUE(Run(request, &responses, &context).ok());
    EXPECT_THAT(responses[0].started().request_id(), testing::MatchesRegex("[0-9a-f]{16}"));
  }
}

v1::SweepRequest SmallSweep() {
  v1::SweepRequest request;
  request.add_prompts()->mutable_token_ids()->add_ids(3);
  request.mutable_variants()->add_variants();
  request.add_metrics()->mutable_kl_from_clean();
  return request;
}

TEST_F(ServiceTest, ASweepIsOneJobWhoseEventsArriveInOrder) {
  Open();
  std::promise<int64_t> reserved;
  EngineDoes([&](engine::Job& job) {
    reserved.set_value(job.response_bytes());
    for (int i = 0; i < 3; ++i) {
      engine::Event event;
      event.sweep.emplace().mutable_variant()->set_index(i);
      job.stream().Push(std::move(event));
    }
    job.stream().Close(absl::OkStatus());
  });
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "sweep-1");
  const auto reader = stub_->Sweep(&context, SmallSweep());
  std::vector<v1::SweepResponse> responses(5);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(reader->Read(&responses[i]));
  EXPECT_FALSE(reader->Read(&responses[4]));
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(responses[0].started().request_id(), "sweep-1");
  EXPECT_EQ(responses[0].started().variants(), 1);
  EXPECT_EQ(responses[3].variant().index(), 2);
  EXPECT_EQ(reserved.get_future().get(), responses[0].started().cost().response_bytes());
}

TEST_F(ServiceTest, ASweepThatIsOnlyValidatedIsNoJob) {
  Open();
  v1::SweepRequest request = SmallSweep();
  request.set_validate_only(true);
  grpc::ClientContext context;
  const auto reader = stub_->Sweep(&context, request);
  v1::SweepResponse started, none;
  EXPECT_TRUE(reader->Read(&started));
  EXPECT_EQ(started.started().cost().tokens(), 2);
  EXPECT_FALSE(reader->Read(&none));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(ServiceTest, TheEnginesStatusEndsTheCallAfterItsEvents) {
  Open();
  EngineDoes([](engine::Job& job) {
    job.stream().Push(Report(1));
    job.stream().Close(absl::UnavailableError("the server is shutting down"));
  });
  std::vector<v1::RunResponse> responses;
  EXPECT_EQ(Run(SmallRequest(), &responses).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(responses, SizeIs(2));
}

}  // namespace
}  // namespace scalpel::rpc
