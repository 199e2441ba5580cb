// The listener with TLS and reflection, over real connections.

#include "server/rpc/listener.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/grpc/health/v1/health.grpc.pb.h"
#include "proto/grpc/reflection/v1/reflection.grpc.pb.h"
#include "proto/grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/contract/methods.h"
#include "server/net/credentials.h"
#include "server/program/healthcheck.h"
#include "tests/unit/support/identity.h"

namespace scalpel::rpc {
namespace {

using grpc::health::v1::HealthCheckResponse;
using test::Identity;
using test::MakeAuthority;
using test::MakeIdentity;
using test::WriteFile;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::StartsWith;

constexpr absl::Duration kPatience = absl::Seconds(20);

std::string Port(const std::string& address) { return address.substr(address.rfind(':') + 1); }

class ListenerTest : public testing::Test {
 protected:
  ListenerTest() { options_.address = "127.0.0.1:0"; }

  void Open() {
    auto listener = Listener::Open(options_, &service_);
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
  }

  // A channel with a connection of its own.
  std::shared_ptr<grpc::Channel> Channel(const std::shared_ptr<grpc::ChannelCredentials>&
                                             credentials = grpc::InsecureChannelCredentials()) {
    return ChannelTo(listener_->address(), credentials);
  }

  static std::shared_ptr<grpc::Channel> ChannelTo(
      const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(target, credentials, arguments);
  }

  static grpc::Status Check(const std::shared_ptr<grpc::Channel>& channel,
                            HealthCheckResponse* response) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    return grpc::health::v1::Health::NewStub(channel)->Check(&context, {}, response);
  }

  static grpc::Status Check(const std::shared_ptr<grpc::Channel>& channel) {
    HealthCheckResponse response;
    return Check(channel, &response);
  }

  access::Gate gate_{access::Policy()};
  insight::Metrics metrics_{contract::MethodNames()};
  Service service_{Limits(), {.gate = gate_, .metrics = metrics_}};
  ListenOptions options_;
  std::unique_ptr<Listener> listener_;
};

// ---- Health and the end -----------------------------------------------------------------------

TEST_F(ListenerTest, HealthcheckReportsTheServersHealth) {
  Open();
  const std::string address = listener_->address();
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunHealthcheck(address, false), 1);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("NOT_SERVING\n"));
  listener_->SetServing(true);
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunHealthcheck(address, false), 0);
  EXPECT_EQ(RunHealthcheck("0.0.0.0:" + Port(address), false), 0);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  listener_ = nullptr;
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunHealthcheck(address, false), 1);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(address));
}

TEST_F(ListenerTest, OldConnectionsEndWithoutALostCall) {
  options_.connection_age = absl::Milliseconds(200);
  Open();
  grpc::ClientContext watching;
  const auto channel = Channel();
  const auto stub = grpc::health::v1::Health::NewStub(channel);
  const auto watch = stub->Watch(&watching, {});
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  const absl::Time end = absl::Now() + absl::Seconds(1);
  while (absl::Now() < end) {
    grpc::ClientContext context;
    const grpc::Status status = stub->Check(&context, {}, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_GT(listener_->connections(), 1) << "the watch's, and a new one";
  listener_->SetServing(true);
  ASSERT_TRUE(watch->Read(&response)) << "a call under way was ended";
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  watching.TryCancel();
}

TEST_F(ListenerTest, HealthWatchersSeeTheDrainBeforeTheirCallsEnd) {
  Open();
  listener_->SetServing(true);
  const auto channel = Channel();
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  const auto watch = grpc::health::v1::Health::NewStub(channel)->Watch(&context, {});
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  listener_->SetServing(false);
  listener_->StopAccepting();
  listener_->StopAccepting();
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  // The connection stays open, and new ones are refused.
  EXPECT_EQ(Check(Channel()).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Check(channel).ok());
  EXPECT_EQ(listener_->connections(), 1);
  const absl::Time began = absl::Now();
  listener_->Shutdown();
  listener_->Shutdown();
  EXPECT_LT(absl::Now() - began, absl::Seconds(5));
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

// At each kind of address that gRPC names in a way of its own.
class HangUpTest : public ListenerTest, public testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(Addresses, HangUpTest,
                         testing::Values("127.0.0.1:0", "[::1]:0", "[::]:0"));

TEST_P(HangUpTest, ClosesTheConnectionsOfTheGivenPeers) {
  if (!net::Acceptor::Listen(GetParam()).ok()) GTEST_SKIP() << "this machine has no IPv6";
  options_.address = GetParam();
  std::string peer;
  options_.admit_reflection = [&peer](grpc::CallbackServerContext* context, Call*) {
    peer = context->peer();
    return absl::OkStatus();
  };
  Open();
  const bool both = options_.address == "[::]:0";  // then the clients use IPv4
  const auto connect = [&] {
    return both ? ChannelTo("127.0.0.1:" + Port(listener_->address()),
                            grpc::InsecureChannelCredentials())
                : Channel();
  };
  const auto named = connect(), other = connect();
  EXPECT_TRUE(Check(other).ok());
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  const auto stream =
      grpc::reflection::v1::ServerReflection::NewStub(named)->ServerReflectionInfo(&context);
  grpc::reflection::v1::ServerReflectionResponse response;
  ASSERT_TRUE(stream->Write({}) && stream->Read(&response));
  EXPECT_EQ(listener_->connections(), 2);
  listener_->HangUp({"unix:", "nonsense", "ipv4:127.0.0.1:1"});
  ASSERT_TRUE(stream->Write({}) && stream->Read(&response));
  listener_->HangUp({peer});
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Check(other).ok());
  EXPECT_TRUE(Check(named).ok()) << "it may come again";
}

TEST_F(ListenerTest, ConnectionsAreLimited) {
  options_.limits->set_max_connections(1);
  Open();
  const auto first = Channel();
  EXPECT_TRUE(Check(first).ok());
  EXPECT_EQ(Check(Channel()).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Check(first).ok());
  EXPECT_EQ(listener_->connections(), 1);
  EXPECT_GE(listener_->connections_refused(), 1);
}

// ---- TLS --------------------------------------------------------------------------------------

class TlsTest : public ListenerTest {
 protected:
  void SetUp() override {
    options_.tls.cert = WriteFile("server.pem", server_.cert);
    options_.tls.key = WriteFile("server.key", server_.key);
  }

  void WantClientCertificates() {
    options_.tls.client_ca = WriteFile("authority.pem", authority_.cert);
  }

  // Trusts `trusted`, and shows `client`.
  std::shared_ptr<grpc::Channel> SecureChannel(const Identity& trusted,
                                               const Identity& client = {}) {
    return Channel(grpc::SslCredentials({trusted.cert, client.key, client.cert}));
  }

  const Identity authority_ = MakeAuthority("authority");
  const Identity stranger_ = MakeAuthority("stranger");
  const Identity server_ = MakeIdentity("server", authority_);
};

TEST_F(TlsTest, ShowsItsCertificateAndNothingWithoutTls) {
  Open();
  EXPECT_TRUE(Check(SecureChannel(authority_)).ok());
  EXPECT_EQ(Check(SecureChannel(stranger_)).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Check(Channel()).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(TlsTest, DoesNotStartWithABadFile) {
  options_.tls.key = WriteFile("other.key", MakeIdentity("other", authority_).key);
  const auto opened = Listener::Open(options_, &service_);
  EXPECT_THAT(std::string(opened.status().message()), StartsWith("--tls-key: "));
}

TEST_F(TlsTest, ClientsNeedACertificateIfACaIsGiven) {
  WantClientCertificates();
  Open();
  EXPECT_TRUE(Check(SecureChannel(authority_, MakeIdentity("alice", authority_))).ok());
  for (const Identity& client : {Identity(), MakeIdentity("alice", stranger_),
                                 MakeIdentity("late", authority_, /*days=*/0)}) {
    EXPECT_EQ(Check(SecureChannel(authority_, client)).error_code(), grpc::StatusCode::UNAVAILABLE);
  }
}

TEST_F(TlsTest, ANewCertificateIsUsedWithoutARestart) {
  Open();
  const auto before = SecureChannel(authority_);
  EXPECT_TRUE(Check(before).ok());
  const Identity renewed = MakeIdentity("renewed", stranger_);
  absl::SleepFor(absl::Milliseconds(1100));  // it looks once a second
  // Half of it, and an empty file as it is in the middle of a copy: the one before stays.
  WriteFile("server.pem", renewed.cert);
  EXPECT_TRUE(Check(SecureChannel(authority_)).ok());
  absl::SleepFor(absl::Milliseconds(1100));
  WriteFile("server.key", "");
  EXPECT_TRUE(Check(SecureChannel(authority_)).ok());
  absl::SleepFor(absl::Milliseconds(1100));
  WriteFile("server.key", renewed.key);
  EXPECT_TRUE(Check(SecureChannel(stranger_)).ok());
  EXPECT_EQ(Check(SecureChannel(authority_)).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Check(before).ok());
  EXPECT_EQ(listener_->tls_reloads().ok, 1);
  EXPECT_EQ(listener_->tls_reloads().failed, 2);
}

TEST_F(TlsTest, HealthcheckNeedsNoCertificate) {
  WantClientCertificates();
  Open();
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunHealthcheck(listener_->address(), true), 1);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("NOT_SERVING\n"));
  listener_->SetServing(true);
  EXPECT_EQ(RunHealthcheck(listener_->address(), true), 0);
}

// ---- Reflection -------------------------------------------------------------------------------

// Asks all questions on one stream of either version.
template <typename Definition, typename Request, typename Response>
grpc::Status Ask(const std::shared_ptr<grpc::Channel>& channel,
                 const std::vector<Request>& requests, std::vector<Response>* responses) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  const auto stream = Definition::NewStub(channel)->ServerReflectionInfo(&context);
  for (const Request& request : requests) {
    Response response;
    if (!stream->Write(request) || !stream->Read(&response)) return stream->Finish();
    responses->push_back(std::move(response));
  }
  stream->WritesDone();
  Response more;
  EXPECT_FALSE(stream->Read(&more));
  return stream->Finish();
}

template <typename Version>
class ReflectionTest : public ListenerTest {};

struct V1 {
  using Definition = grpc::reflection::v1::ServerReflection;
  using Request = grpc::reflection::v1::ServerReflectionRequest;
  using Response = grpc::reflection::v1::ServerReflectionResponse;
};
struct V1Alpha {
  using Definition = grpc::reflection::v1alpha::ServerReflection;
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = grpc::reflection::v1alpha::ServerReflectionResponse;
};
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

// ---- Both -------------------------------------------------------------------------------------

TEST_F(TlsTest, TheGateSeesTheNameInTheCertificate) {
  WantClientCertificates();
  std::vector<std::string> names;
  std::vector<bool> local;
  options_.admit_reflection = [&](grpc::CallbackServerContext* context, Call*) {
    names.push_back(net::CertificateName(*context->auth_context()));
    local.push_back(CameByHealthTarget(context->peer()));
    return absl::OkStatus();
  };
  Open();
  std::vector<V1::Request> requests(1);
  std::vector<V1::Response> responses;
  const auto by_tls = SecureChannel(authority_, MakeIdentity("alice", authority_));
  EXPECT_TRUE(Ask<V1::Definition>(by_tls, requests, &responses).ok());
  const auto by_socket =
      ChannelTo(HealthTarget(Port(listener_->address())), grpc::InsecureChannelCredentials());
  EXPECT_TRUE(Ask<V1::Definition>(by_socket, requests, &responses).ok());
  EXPECT_THAT(names, ElementsAre("alice", ""));
  EXPECT_THAT(local, ElementsAre(false, true));
}

// gRPC's own answer to a method that is declared and not taken raw would be the first that is heard
// of it.
TEST(CheckServed, FindsAMethodThatIsLeftToGrpc) {
  struct AllButGetStatus : v1::InterventionService::WithRawCallbackMethod_GetModel<
                               v1::InterventionService::WithRawCallbackMethod_Tokenize<
                                   v1::InterventionService::WithRawCallbackMethod_Detokenize<
                                       v1::InterventionService::WithRawCallbackMethod_Run<
                                           v1::InterventionService::WithRawCallbackMethod_Sweep<
                                               v1::InterventionService::Service>>>>> {};
  EXPECT_TRUE(absl::IsInternal(CheckServed(AllButGetStatus())));
  EXPECT_TRUE(CheckServed(RawInterventionService()).ok());
}

}  // namespace
}  // namespace scalpel::rpc
