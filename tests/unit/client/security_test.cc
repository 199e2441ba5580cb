#include "client/cpp/security.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/string_view.h"

namespace scalpel::client {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr absl::string_view kHere = "127.0.0.1:50051";
constexpr absl::string_view kThere = "example.org:50051";

class ClientSecurity : public testing::Test {
 protected:
  ClientSecurity() { std::filesystem::create_directories(folder_); }
  ~ClientSecurity() override { std::filesystem::remove_all(folder_); }

  std::string File(const std::string& name, absl::string_view contents) {
    const std::filesystem::path path = folder_ / name;
    std::ofstream(path) << contents;
    return path.string();
  }

  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / "client_security_test";
};

TEST(ClientSecurityAddress, RecognisesLocalAddresses) {
  for (const char* address :
       {"localhost:50051", "localhost", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "unix:/tmp/socket",
        "unix-abstract:scalpel", "dns:///localhost:1", "dns:localhost:1", "ipv4:127.0.0.1:1",
        "ipv6:[::1]:1"}) {
    EXPECT_TRUE(IsLocal(address)) << address;
  }
  for (const char* address :
       {"example.org:1", "127.0.0.1.example.org:1", "10.0.0.1:1", "[2001:db8::1]:1", "0.0.0.0:1",
        "dns:///example.org:1", "dns://8.8.8.8/localhost:1", "localhost.example.org", "",
        "ipv4:127.0.0.1:1,10.0.0.1:1", "xds:///localhost:1"}) {
    EXPECT_FALSE(IsLocal(address)) << address;
  }
}

TEST_F(ClientSecurity, ReadsTheTokenFromAFileOrTheEnvironment) {
  Security security;
  ASSERT_TRUE(ReadSecurity(kHere, "", &security).ok());
  EXPECT_EQ(security.token, "");
  ASSERT_TRUE(ReadSecurity(kHere, "from-environment", &security).ok());
  EXPECT_EQ(security.token, "from-environment");
  security = {};
  security.token_file = File("token", "  from-file\r\n");
  ASSERT_TRUE(ReadSecurity(kHere, "from-environment", &security).ok());
  EXPECT_EQ(security.token, "from-file");
}

TEST_F(ClientSecurity, RefusesToSendATokenUnencrypted) {
  Security security;
  const std::string message(ReadSecurity(kThere, "secret", &security).message());
  EXPECT_THAT(message, HasSubstr("the token would travel to example.org:50051 unencrypted"));
  EXPECT_THAT(message, Not(HasSubstr("secret")));
  security = {};
  security.tls = true;
  EXPECT_TRUE(ReadSecurity(kThere, "secret", &security).ok());
  security = {};
  security.allow_plaintext_token = true;
  EXPECT_TRUE(ReadSecurity(kThere, "secret", &security).ok());
  security = {};
  EXPECT_TRUE(ReadSecurity(kThere, "", &security).ok());
}

TEST_F(ClientSecurity, RefusesInvalidTokensWithoutQuotingThem) {
  for (const char* text : {"two words", "line\nbreak", "na\xc3\xafve", " "}) {
    Security security;
    const std::string message(ReadSecurity(kHere, text, &security).message());
    EXPECT_THAT(message, HasSubstr("$SCALPEL_TOKEN holds no token")) << text;
    EXPECT_THAT(message, Not(HasSubstr("two")));
  }
  Security security;
  security.token_file = File("blank", "\n");
  EXPECT_THAT(std::string(ReadSecurity(kHere, "other", &security).message()),
              HasSubstr("--token-file holds no token"));
}

TEST_F(ClientSecurity, ReadsCertificatesInPairs) {
  Security security;
  security.tls = true;
  security.ca_file = File("ca.pem", "the authority");
  security.certificate_file = File("client.pem", "mine");
  EXPECT_EQ(ReadSecurity(kThere, "", &security).message(),
            "--cert and --key belong together; give both");
  security.key_file = File("client.key", "my key");
  ASSERT_TRUE(ReadSecurity(kThere, "", &security).ok());
  EXPECT_EQ(security.ca, "the authority");
  EXPECT_EQ(security.certificate, "mine");
  EXPECT_EQ(security.key, "my key");
}

TEST_F(ClientSecurity, NamesTheFileThatCannotBeRead) {
  for (const std::string& path : {std::string("missing.pem"), folder_.string(), File("none", "")}) {
    Security security;
    security.ca_file = path;
    EXPECT_EQ(ReadSecurity(kThere, "", &security).message(),
              "--ca: `" + path + "` is empty or cannot be read");
  }
}

}  // namespace
}  // namespace scalpel::client
