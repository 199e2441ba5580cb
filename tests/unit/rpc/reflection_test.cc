// Reflection in both of its versions, over real connections.

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/unit/rpc/listener_fixture.h"
#include "tests/unit/rpc/reflection_client.h"

namespace scalpel::rpc {
namespace {

using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::StartsWith;

template <typename Version>
class ReflectionTest : public ListenerTest {};

using Versions = testing::Types<V1, V1Alpha>;
TYPED_TEST_SUITE(ReflectionTest, Versions);

TYPED_TEST(ReflectionTest, ListsServicesAndDescribesThem) {
  this->Open();
  std::vector<typename TypeParam::Request> requests(5);
  requests[0].set_host("here");
  requests[0].set_list_services("");
  requests[1].set_file_containing_symbol("scalpel.v1.InterventionService.Run");
  requests[2].set_file_by_filename("grpc/health/v1/health.proto");
  requests[3].set_file_containing_symbol("no.such.Symbol");
  std::vector<typename TypeParam::Response> responses;
  const grpc::Status status =
      Ask<typename TypeParam::Definition>(this->Channel(), requests, &responses);
  ASSERT_TRUE(status.ok()) << status.error_message();
  std::vector<std::string> names;
  for (const auto& service : responses[0].list_services_response().service()) {
    names.push_back(service.name());
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("scalpel.v1.InterventionService",
                                                   "grpc.health.v1.Health",
                                                   "grpc.reflection.v1.ServerReflection",
                                                   "grpc.reflection.v1alpha.ServerReflection"));
  EXPECT_EQ(responses[0].valid_host(), "here");
  EXPECT_TRUE(responses[0].original_request().has_list_services());

  std::vector<std::string> files;
  for (const std::string& bytes : responses[1].file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(bytes));
    files.push_back(file.name());
  }
  EXPECT_EQ(files[0], "scalpel/v1/service.proto");
  EXPECT_THAT(files, IsSupersetOf({"scalpel/v1/run.proto", "google/protobuf/descriptor.proto"}));
  EXPECT_EQ(std::set<std::string>(files.begin(), files.end()).size(), files.size());
  EXPECT_EQ(responses[2].file_descriptor_response().file_descriptor_proto_size(), 1);
  EXPECT_EQ(responses[3].error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(responses[3].error_response().error_message(), HasSubstr("no.such.Symbol"));
  EXPECT_EQ(responses[4].error_response().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TYPED_TEST(ReflectionTest, TellsExtensions) {
  this->Open();
  std::vector<typename TypeParam::Request> requests(4);
  requests[0].set_all_extension_numbers_of_type("google.protobuf.EnumValueOptions");
  requests[1].set_all_extension_numbers_of_type("no.such.Type");
  std::vector<typename TypeParam::Response> responses;
  auto* extension = requests[2].mutable_file_containing_extension();
  extension->set_containing_type("google.protobuf.EnumValueOptions");
  extension->set_extension_number(536870911);
  requests[3] = requests[2];
  requests[3].mutable_file_containing_extension()->set_containing_type("no.such.Type");
  ASSERT_TRUE(Ask<typename TypeParam::Definition>(this->Channel(), requests, &responses).ok());
  const auto& numbers = responses[0].all_extension_numbers_response();
  EXPECT_EQ(numbers.base_type_name(), "google.protobuf.EnumValueOptions");
  ASSERT_GE(numbers.extension_number_size(), 1);
  for (int i = 1; i < 4; ++i) {
    EXPECT_EQ(responses[i].error_response().error_code(), grpc::StatusCode::NOT_FOUND) << i;
  }

  requests.resize(1);
  extension = requests[0].mutable_file_containing_extension();
  extension->set_containing_type("google.protobuf.EnumValueOptions");
  extension->set_extension_number(numbers.extension_number(0));
  responses.clear();
  ASSERT_TRUE(Ask<typename TypeParam::Definition>(this->Channel(), requests, &responses).ok());
  google::protobuf::FileDescriptorProto file;
  ASSERT_TRUE(
      file.ParseFromString(responses[0].file_descriptor_response().file_descriptor_proto(0)));
  EXPECT_EQ(file.name(), "scalpel/v1/site.proto");
}

TYPED_TEST(ReflectionTest, AsksWhoCalls) {
  std::string peer;
  this->options_.admit_reflection = [&peer](grpc::CallbackServerContext* context, Call*) {
    peer = context->peer();
    return absl::PermissionDeniedError("not you");
  };
  this->Open();
  std::vector<typename TypeParam::Response> responses;
  const grpc::Status status = Ask<typename TypeParam::Definition>(
      this->Channel(), std::vector<typename TypeParam::Request>(1), &responses);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(status.error_message(), "not you");
  EXPECT_THAT(responses, testing::IsEmpty());
  EXPECT_THAT(peer, StartsWith("ipv4:127.0.0.1:"));
}

TYPED_TEST(ReflectionTest, IsBounded) {
  this->Open();
  std::vector<typename TypeParam::Request> requests(1001);
  for (auto& request : requests) request.set_list_services("");
  std::vector<typename TypeParam::Response> responses;
  const grpc::Status many =
      Ask<typename TypeParam::Definition>(this->Channel(), requests, &responses);
  EXPECT_EQ(many.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(responses, testing::SizeIs(1000));
  requests.resize(1);
  requests[0].set_host(std::string(5000, 'x'));
  responses.clear();
  const grpc::Status large =
      Ask<typename TypeParam::Definition>(this->Channel(), requests, &responses);
  EXPECT_EQ(large.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace scalpel::rpc
