#include "server/net/tls_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/unit/support/identity.h"

namespace scalpel::net {
namespace {

using test::Identity;
using test::MakeAuthority;
using test::MakeIdentity;
using test::WriteFile;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

TEST(ReadTlsFiles, SaysWhichFlagIsMissing) {
  EXPECT_THAT(std::string(ReadTlsFiles({"", "", "ca"}).status().message()),
              StartsWith("--tls-cert: "));
  EXPECT_THAT(std::string(ReadTlsFiles({"c", "", ""}).status().message()),
              StartsWith("--tls-key: "));
}

TEST(ReadTlsFiles, SaysWhichFileCannotBeRead) {
  const std::string file = WriteFile("some.pem", "some");
  const std::string folder = testing::TempDir();
  EXPECT_THAT(std::string(ReadTlsFiles({"/no/such", file, ""}).status().message()),
              AllOf(StartsWith("--tls-cert: "), HasSubstr("/no/such"), HasSubstr("No such file")));
  EXPECT_THAT(std::string(ReadTlsFiles({file, folder, ""}).status().message()),
              AllOf(StartsWith("--tls-key: "), HasSubstr("directory")));
  EXPECT_THAT(std::string(ReadTlsFiles({file, file, "/no/such"}).status().message()),
              StartsWith("--tls-client-ca: "));
  const std::string large = WriteFile("large.pem", std::string((1 << 20) + 1, 'x'));
  EXPECT_THAT(std::string(ReadTlsFiles({large, file, ""}).status().message()),
              HasSubstr("is longer than"));
  const std::string empty = WriteFile("empty.pem", "");
  EXPECT_THAT(std::string(ReadTlsFiles({file, file, empty}).status().message()),
              AllOf(StartsWith("--tls-client-ca: "), HasSubstr("empty")));
}

TEST(ReadTlsFiles, ReadsFilesUnchanged) {
  const std::string cert = WriteFile("cert.pem", "a"), key = WriteFile("key.pem", "b");
  const auto material = ReadTlsFiles({cert, key, ""});
  ASSERT_TRUE(material.ok()) << material.status();
  EXPECT_EQ(*material, (TlsMaterial{"a", "b", ""}));
}

class CheckTlsMaterialTest : public testing::Test {
 protected:
  static std::string Problem(const TlsMaterial& material) {
    return std::string(CheckTlsMaterial(material).message());
  }

  const Identity authority_ = MakeAuthority("authority");
  const Identity server_ = MakeIdentity("server", authority_);
  const Identity other_ = MakeIdentity("other", authority_);
};

TEST_F(CheckTlsMaterialTest, AcceptsACertificateAChainAndACa) {
  EXPECT_EQ(Problem({server_.cert, server_.key, ""}), "");
  EXPECT_EQ(Problem({server_.cert + authority_.cert, server_.key, authority_.cert}), "");
  EXPECT_EQ(Problem({"a comment\n" + server_.cert, server_.key, other_.cert + authority_.cert}),
            "");
}

TEST_F(CheckTlsMaterialTest, RefusesAnInvalidCertificate) {
  for (const std::string& cert : {std::string(), std::string("words"), server_.key}) {
    EXPECT_THAT(Problem({cert, server_.key, ""}),
                AllOf(StartsWith("--tls-cert: "), HasSubstr("no certificate")));
  }
  const std::string cut = server_.cert.substr(0, server_.cert.size() / 2);
  EXPECT_THAT(Problem({cut, server_.key, ""}), StartsWith("--tls-cert: "));
  EXPECT_THAT(Problem({server_.cert + cut, server_.key, ""}), StartsWith("--tls-cert: "));
  EXPECT_THAT(Problem({server_.cert, server_.key, "words"}), StartsWith("--tls-client-ca: "));
}

TEST_F(CheckTlsMaterialTest, RefusesAnInvalidOrMismatchedKey) {
  for (const std::string& key : {std::string(), std::string("words"), server_.cert}) {
    EXPECT_THAT(Problem({server_.cert, key, ""}),
                AllOf(StartsWith("--tls-key: "), HasSubstr("no private key")));
  }
  EXPECT_THAT(Problem({server_.cert, other_.key, ""}),
              AllOf(StartsWith("--tls-key: "), HasSubstr("does not belong")));
  // The server's own certificate comes first.
  EXPECT_THAT(Problem({authority_.cert + server_.cert, server_.key, ""}),
              HasSubstr("does not belong"));
}

TEST_F(CheckTlsMaterialTest, WarnsOfExpiredCertificates) {
  const Identity late = MakeIdentity("late", authority_, 0);
  EXPECT_THAT(TlsWarnings({server_.cert, server_.key, authority_.cert}), IsEmpty());
  EXPECT_EQ(Problem({late.cert, late.key, ""}), "");
  EXPECT_THAT(TlsWarnings({late.cert, late.key, late.cert}),
              ElementsAre(AllOf(StartsWith("--tls-cert: "), HasSubstr("late has expired")),
                          StartsWith("--tls-client-ca: ")));
}

}  // namespace
}  // namespace scalpel::net
