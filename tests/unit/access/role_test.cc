#include "server/access/role.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "proto/scalpel/v1/service.pb.h"

namespace scalpel::access {
namespace {

using ::testing::HasSubstr;

TEST(Role, HasANameThatIsRead) {
  for (const Role role : {v1::ROLE_READER, v1::ROLE_RUNNER, v1::ROLE_OPERATOR}) {
    EXPECT_EQ(ParseRole(RoleName(role)), role);
  }
  EXPECT_EQ(ParseRole("Reader"), std::nullopt);
  EXPECT_EQ(ParseRole(""), std::nullopt);
}

TEST(LeastRole, TakesEveryFormOfAMethod) {
  for (const char* method :
       {"Run", "scalpel.v1.InterventionService/Run", "/scalpel.v1.InterventionService/Run"}) {
    EXPECT_EQ(LeastRole(method), v1::ROLE_RUNNER) << method;
  }
  EXPECT_EQ(LeastRole("GetModel"), v1::ROLE_READER);
  EXPECT_EQ(LeastRole("Tokenize"), v1::ROLE_READER);
  EXPECT_EQ(LeastRole("Detokenize"), v1::ROLE_READER);
  EXPECT_EQ(LeastRole("Sweep"), v1::ROLE_RUNNER);
  EXPECT_EQ(LeastRole("GetStatus"), v1::ROLE_OPERATOR);
}

TEST(LeastRole, KnowsReflection) {
  for (const char* method :
       {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "ServerReflectionInfo"}) {
    EXPECT_EQ(LeastRole(method), v1::ROLE_READER) << method;
  }
}

TEST(LeastRole, IsNulloptForUnlistedMethods) {
  for (const char* method :
       {"", "/", "run", "Delete", "/other.Service/Run", "/scalpel.v1.InterventionService/", "//Run",
        "Run/", "/scalpel.v1.InterventionService/Delete", "/x/scalpel.v1.InterventionService/Run",
        "/grpc.reflection.v1.ServerReflection/Run"}) {
    EXPECT_EQ(LeastRole(method), std::nullopt) << method;
  }
}

TEST(LeastRole, CoversEveryMethodOfTheService) {
  const google::protobuf::FileDescriptor* file = v1::TokenizeRequest::descriptor()->file();
  ASSERT_EQ(file->service_count(), 1);
  const google::protobuf::ServiceDescriptor* service = file->service(0);
  ASSERT_GT(service->method_count(), 0);
  for (int i = 0; i < service->method_count(); ++i) {
    const std::string path = "/" + service->full_name() + "/" + service->method(i)->name();
    EXPECT_TRUE(LeastRole(path).has_value()) << path;
  }
}

TEST(CheckRole, LetsEachRoleCallWhatThoseBeforeItMay) {
  EXPECT_TRUE(CheckRole(v1::ROLE_READER, "GetModel").ok());
  EXPECT_TRUE(CheckRole(v1::ROLE_RUNNER, "GetModel").ok());
  EXPECT_TRUE(CheckRole(v1::ROLE_RUNNER, "Run").ok());
  EXPECT_TRUE(CheckRole(v1::ROLE_OPERATOR, "Run").ok());
  EXPECT_TRUE(CheckRole(v1::ROLE_OPERATOR, "GetStatus").ok());
}

TEST(CheckRole, NamesTheRoleThatWouldDo) {
  const absl::Status run = CheckRole(v1::ROLE_READER, "Run");
  EXPECT_EQ(run.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(run.message()), HasSubstr("Run needs the role runner"));
  const absl::Status status = CheckRole(v1::ROLE_RUNNER, "GetStatus");
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the role operator"));
}

TEST(CheckRole, DeniesWhatIsNotListedToEverybody) {
  const absl::Status status = CheckRole(v1::ROLE_OPERATOR, "Delete\n");
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"Delete\\n\": no role"));
}

}  // namespace
}  // namespace scalpel::access
