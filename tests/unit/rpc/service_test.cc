// The service over a real gRPC server and client, with an engine that does what the test says.

#include "server/rpc/service.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"
#include "server/base/errors.h"
#include "server/contract/methods.h"
#include "server/rpc/listener.h"

namespace scalpel::rpc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

constexpr absl::Duration kPatience = absl::Seconds(20);

spec::ModelFacts SmallFacts() {
  spec::ModelFacts facts;
  facts.name = "small";
  facts.config.n_layer = 2;
  facts.config.n_head = 2;
  facts.config.d_model = 8;
  facts.config.d_head = 4;
  facts.config.d_mlp = 32;
  facts.config.n_ctx = 16;
  facts.config.vocab_size = 11;
  return facts;
}

v1::RunRequest SmallRequest() {
  v1::RunRequest request;
  request.add_prompts()->mutable_token_ids()->add_ids(3);
  return request;
}

engine::Event Report(int index) {
  engine::Event event;
  event.message.mutable_intervention_report()->set_index(index);
  return event;
}

class ServiceTest : public testing::Test {
 protected:
  explicit ServiceTest(absl::Duration reader_patience = absl::Minutes(10))
      : service_(limits_, {.gate = gate_,
                           .metrics = metrics_,
                           .slow_call = absl::ZeroDuration(),
                           .reader_patience = reader_patience}) {}

  void SetUp() override {
    ListenOptions options;
    options.address = "127.0.0.1:0";
    options.limits = limits_;
    auto listener = Listener::Open(options, &service_);
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    channel_ = grpc::CreateChannel(listener_->address(), grpc::InsecureChannelCredentials());
    stub_ = v1::InterventionService::NewStub(channel_);
  }

  void TearDown() override {
    EXPECT_TRUE(service_.WaitIdle(absl::Now() + kPatience)) << "a call never ended";
    listener_->Shutdown();
    for (std::thread& thread : threads_) thread.join();
  }

  void Open() {
    service_.Open(std::make_shared<const Backend>(
        Backend{facts_, "cpu", "avx2", 3, [this](auto job) { return submit_(std::move(job)); }}));
  }

  // An engine that runs `work` on a thread of its own.
  void EngineDoes(std::function<void(engine::Job&)> work) {
    submit_ = [this, work](std::shared_ptr<engine::Job> job) {
      absl::MutexLock lock(&mutex_);
      threads_.emplace_back([work, job = std::move(job)] { work(*job); });
      return absl::OkStatus();
    };
  }

  grpc::Status Run(const v1::RunRequest& request, std::vector<v1::RunResponse>* responses,
                   grpc::ClientContext* context) {
    const auto reader = stub_->Run(context, request);
    v1::RunResponse response;
    while (reader->Read(&response)) responses->push_back(response);
    return reader->Finish();
  }

  grpc::Status Run(const v1::RunRequest& request, std::vector<v1::RunResponse>* responses) {
    grpc::ClientContext context;
    return Run(request, responses, &context);
  }

  const spec::ModelFacts facts_ = SmallFacts();
  Limits limits_;
  std::function<absl::Status(std::shared_ptr<engine::Job>)> submit_ = [](auto) {
    return absl::InternalError("nothing was to be submitted");
  };
  absl::Mutex mutex_;
  std::vector<std::thread> threads_;
  access::Gate gate_{access::Policy()};
  insight::Metrics metrics_{contract::MethodNames()};
  Service service_;
  std::unique_ptr<Listener> listener_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::InterventionService::Stub> stub_;
};

TEST_F(ServiceTest, IsUnavailableBeforeOpenAndAfterClose) {
  for (const char* reason : {"loaded", "", "shutting down"}) {
    grpc::ClientContext context;
    v1::GetModelResponse model;
    const grpc::Status unary = stub_->GetModel(&context, {}, &model);
    v1::RunRequest request = SmallRequest();
    request.set_validate_only(true);
    std::vector<v1::RunResponse> responses;
    const grpc::Status stream = Run(request, &responses);
    for (const grpc::Status& status : {unary, stream}) {
      EXPECT_EQ(status.ok(), *reason == '\0') << status.error_message();
      if (status.ok()) continue;
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
      EXPECT_THAT(status.error_message(), HasSubstr(reason));
    }
    unary.ok() ? service_.Close() : Open();
  }
}

TEST_F(ServiceTest, GetModelDescribesTheModelAndItsLimits) {
  Open();
  grpc::ClientContext context;
  v1::GetModelResponse model;
  ASSERT_TRUE(stub_->GetModel(&context, {}, &model).ok());
  EXPECT_EQ(model.model(), "small");
  EXPECT_EQ(model.config().d_mlp(), 32);
  EXPECT_EQ(model.config().activation_function(), "gelu_new");
  EXPECT_THAT(model.sites(), SizeIs(v1::Site_descriptor()->value_count() - 1));
  EXPECT_THAT(model.statistics(), SizeIs(v1::Statistic_descriptor()->value_count() - 1));
  const auto* operations = v1::Intervention::descriptor()->FindOneofByName("operation");
  ASSERT_THAT(model.operations(), SizeIs(operations->field_count()));
  for (int i = 0; i < operations->field_count(); ++i)
    EXPECT_EQ(model.operations(i), operations->field(i)->name());
  EXPECT_EQ(model.limits().max_queue(), limits_->max_queue());
  EXPECT_EQ(model.device(), "cpu");
  EXPECT_EQ(model.kernels(), "avx2");
  EXPECT_EQ(model.threads(), 3);
  EXPECT_FALSE(model.has_tokenizer());
  EXPECT_EQ(model.tokenizer_problem(), "the model's folder has no tokenizer");
}

TEST_F(ServiceTest, AnotherModelIsNotFound) {
  Open();
  grpc::ClientContext context;
  v1::GetModelRequest request;
  request.set_model("large\n");
  v1::GetModelResponse model;
  const grpc::Status status = stub_->GetModel(&context, request, &model);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), HasSubstr("not \"large\\n\""));
}

TEST_F(ServiceTest, TextNeedsATokenizer) {
  Open();
  grpc::ClientContext contexts[2];
  v1::TokenizeResponse tokens;
  v1::DetokenizeResponse text;
  for (const grpc::Status& status :
       {stub_->Tokenize(&contexts[0], {}, &tokens), stub_->Detokenize(&contexts[1], {}, &text)}) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_THAT(status.error_message(),
                HasSubstr("the model's folder has no tokenizer; send token ids"));
  }
}

TEST_F(ServiceTest, UnreadableMessagesAreInvalidArgument) {
  Open();
  grpc::GenericStub stub(channel_);
  for (const absl::string_view method : contract::MethodNames()) {
    grpc::ClientContext context;
    const grpc::Slice noise("\xff\xff\xff");
    const grpc::ByteBuffer request(&noise, 1);
    grpc::ByteBuffer response;
    std::promise<grpc::Status> ended;
    stub.UnaryCall(&context, absl::StrCat("/scalpel.v1.InterventionService/", method), {}, &request,
                   &response, [&](grpc::Status status) { ended.set_value(std::move(status)); });
    const grpc::Status status = ended.get_future().get();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr(absl::StrCat("scalpel.v1.", method, "Request")));
  }
}

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

TEST_F(ServiceTest, ARefusedJobSendsNothing) {
  Open();
  submit_ = [](auto) { return Busy("the queue is full", absl::Seconds(1)); };
  std::vector<v1::RunResponse> responses;
  const grpc::Status status = Run(SmallRequest(), &responses);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(responses, SizeIs(0));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_TRUE(details.details(0).Is<google::rpc::RetryInfo>());
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

TEST_F(ServiceTest, AnExceptionIsInternalAndSaysOnlyTheRequestId) {
  Open();
  submit_ = [](auto) -> absl::Status { throw std::runtime_error("/secret/path"); };
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "my-id");
  std::vector<v1::RunResponse> responses;
  const grpc::Status status = Run(SmallRequest(), &responses, &context);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(status.error_message(), HasSubstr("my-id"));
  EXPECT_THAT(status.error_message(), Not(HasSubstr("secret")));
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

// gRPC's clients refuse trailers of more than 8 KiB: the error would be lost.
TEST_F(ServiceTest, ManyLongViolationsReachTheClient) {
  Open();
  v1::RunRequest request = SmallRequest();
  for (int i = 0; i < 60; ++i) {
    auto* intervention = request.add_interventions();
    intervention->mutable_place()->set_path(std::string(1000, 'x'));
    intervention->mutable_zero();
  }
  std::vector<v1::RunResponse> responses;
  const grpc::Status status = Run(request, &responses);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  google::rpc::Status details;
  google::rpc::BadRequest violations;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  ASSERT_TRUE(details.details(0).UnpackTo(&violations));
  EXPECT_GE(violations.field_violations_size(), 5);
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

TEST_F(ServiceTest, APortInUseIsAnError) {
  Service other(limits_, {.gate = gate_, .metrics = metrics_});
  ListenOptions options;
  options.address = listener_->address();
  const auto second = Listener::Open(options, &other);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(listener_->address()));
}

}  // namespace
}  // namespace scalpel::rpc
