// The listener with TLS, over real connections.

#include <gmock/gmock.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/net/credentials.h"
#include "server/program/healthcheck.h"
#include "server/rpc/listener.h"
#include "tests/unit/rpc/listener_fixture.h"
#include "tests/unit/rpc/reflection_client.h"
#include "tests/unit/support/identity.h"

namespace scalpel::rpc {
namespace {

using test::Identity;
using test::MakeAuthority;
using test::MakeIdentity;
using test::WriteFile;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

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

}  // namespace
}  // namespace scalpel::rpc
