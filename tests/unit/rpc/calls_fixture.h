// A server whose callers have roles and shares, and whose engine holds calls until they are
// cancelled.

#ifndef SCALPEL_TESTS_UNIT_RPC_CALLS_FIXTURE_H_
#define SCALPEL_TESTS_UNIT_RPC_CALLS_FIXTURE_H_

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/access/token_list.h"
#include "server/contract/methods.h"
#include "server/rpc/calls.h"
#include "server/rpc/listener.h"
#include "server/rpc/service.h"
#include "tests/unit/rpc/patience.h"
#include "tests/unit/rpc/small_model.h"

namespace scalpel::rpc {

inline constexpr char kReader[] = "scalpel_reader_0123456789abcdef012345";
inline constexpr char kRunner[] = "scalpel_runner_0123456789abcdef012345";
inline constexpr char kOperator[] = "scalpel_operator_0123456789abcdef0123";

inline access::Policy WithTokens() {
  const auto entry = [](const char* name, const char* token, access::Role role) {
    return access::TokenEntry{.name = name, .hash = access::HashOf(token), .role = role};
  };
  std::vector<access::TokenEntry> entries = {entry("rita", kReader, v1::ROLE_READER),
                                             entry("ron", kRunner, v1::ROLE_RUNNER),
                                             entry("olga", kOperator, v1::ROLE_OPERATOR)};
  entries[1].calls_max = 1;
  entries[1].tokens_per_second_max = 1;
  const auto list = std::make_shared<const access::TokenList>(std::move(entries));
  access::Policy policy;
  policy.tokens = [list] { return list; };
  return policy;
}

inline v1::RunRequest Tokens(int count) {
  v1::RunRequest request;
  for (int i = 0; i < count; ++i) request.add_prompts()->mutable_token_ids()->add_ids(3);
  return request;
}

class CallsTest : public testing::Test {
 protected:
  // A server with these settings, whose engine holds calls until they are cancelled.
  void Start(access::Policy policy, const Limits& limits = {},
             absl::Duration slow = absl::ZeroDuration()) {
    gate_ = std::make_unique<access::Gate>(std::move(policy));
    service_ = std::make_unique<Service>(
        limits, Dependencies{.gate = *gate_, .metrics = metrics_, .slow_call = slow});
    ListenOptions options;
    options.address = "127.0.0.1:0";
    options.limits = limits;
    options.admit_reflection = [this](grpc::CallbackServerContext* context, Call* call) {
      return service_->AdmitReflection(*context, call);
    };
    auto listener = Listener::Open(options, service_.get());
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    Backend backend{facts_, "cpu", "avx2", 3, [this](auto job) { return submit_(job); }};
    backend.cache_counts = [this] { return cache_counts_; };
    backend.cache_scope = cache_scope_;
    backend.admission = [this] { return admission_; };
    service_->Open(std::make_shared<const Backend>(std::move(backend)));
    channel_ = grpc::CreateChannel(listener_->address(), grpc::InsecureChannelCredentials());
    stub_ = v1::InterventionService::NewStub(channel_);
  }

  void TearDown() override {
    if (listener_ == nullptr) return;
    WaitIdle();
    listener_->Shutdown();
  }

  // A call that runs until it is cancelled.
  struct Held {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::RunResponse>> reader;
    v1::RunResponse started;
    ~Held() {
      context.TryCancel();
      reader->Finish();
    }
  };
  std::unique_ptr<Held> Hold(const char* token = nullptr) {
    auto held = std::make_unique<Held>();
    Show(token, &held->context);
    held->reader = stub_->Run(&held->context, Tokens(1));
    EXPECT_TRUE(held->reader->Read(&held->started));
    return held;
  }

  static void Show(const char* token, grpc::ClientContext* context) {
    if (token != nullptr) context->AddMetadata("authorization", absl::StrCat("Bearer ", token));
  }

  grpc::Status GetModel(const char* token = nullptr) {
    grpc::ClientContext context;
    Show(token, &context);
    v1::GetModelResponse model;
    return stub_->GetModel(&context, {}, &model);
  }

  grpc::Status Run(const v1::RunRequest& request, const char* token = nullptr) {
    grpc::ClientContext context;
    Show(token, &context);
    const auto reader = stub_->Run(&context, request);
    v1::RunResponse response;
    while (reader->Read(&response)) continue;
    const grpc::Status status = reader->Finish();
    WaitIdle();
    return status;
  }

  v1::GetStatusResponse GetStatus(const char* token = nullptr) {
    grpc::ClientContext context;
    Show(token, &context);
    v1::GetStatusResponse status;
    const grpc::Status end = stub_->GetStatus(&context, {}, &status);
    EXPECT_TRUE(end.ok()) << end.error_message();
    return status;
  }

  // A client sees the end of a stream a little before the server has counted it.
  void WaitIdle() {
    EXPECT_TRUE(service_->WaitIdle(absl::Now() + kPatience)) << "a call never ended";
  }

  int64_t Rejections(const std::string& reason) {
    WaitIdle();
    return metrics_.Rejections().at(reason);
  }

  const spec::ModelFacts facts_ = SmallFacts();
  absl::Status admission_;
  engine::BaselineCache::Counts cache_counts_;
  v1::CacheScope cache_scope_ = v1::CACHE_SCOPE_SHARED;
  insight::Metrics metrics_{contract::MethodNames()};
  std::function<absl::Status(std::shared_ptr<engine::Job>)> submit_ = [](auto) {
    return absl::OkStatus();
  };
  std::unique_ptr<access::Gate> gate_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<Listener> listener_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::InterventionService::Stub> stub_;
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_TESTS_UNIT_RPC_CALLS_FIXTURE_H_
