// When the service answers, what its unary methods say, and how it refuses.

#include "server/rpc/service.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <future>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"
#include "server/base/errors.h"
#include "server/contract/methods.h"
#include "server/rpc/listener.h"
#include "tests/unit/rpc/service_fixture.h"

namespace scalpel::rpc {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

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
