// The service over a real gRPC server and client, with an engine that does what the test says.

#ifndef SCALPEL_TESTS_UNIT_RPC_SERVICE_FIXTURE_H_
#define SCALPEL_TESTS_UNIT_RPC_SERVICE_FIXTURE_H_

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/contract/methods.h"
#include "server/rpc/listener.h"
#include "server/rpc/service.h"
#include "tests/unit/rpc/patience.h"
#include "tests/unit/rpc/small_model.h"

namespace scalpel::rpc {

inline v1::RunRequest SmallRequest() {
  v1::RunRequest request;
  request.add_prompts()->mutable_token_ids()->add_ids(3);
  return request;
}

inline engine::Event Report(int index) {
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

}  // namespace scalpel::rpc

#endif  // SCALPEL_TESTS_UNIT_RPC_SERVICE_FIXTURE_H_
