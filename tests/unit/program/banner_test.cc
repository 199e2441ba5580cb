#include "server/program/banner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/support/tiny.h"

namespace scalpel {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string BannerOf(const Config& config, const std::string& address) {
  const rpc::Backend backend{test::TinyFacts(), "cpu", "avx2", 1, nullptr};
  return Banner(backend, config, address, absl::Seconds(2));
}

TEST(Banner, ShowsACommandForThisMachine) {
  const std::string text = BannerOf(Config(), "0.0.0.0:7");
  EXPECT_THAT(text, HasSubstr("listening on 0.0.0.0:7\n"));
  EXPECT_THAT(text, HasSubstr("grpcurl -plaintext -d"));
  EXPECT_THAT(text, HasSubstr("127.0.0.1:7 scalpel.v1.InterventionService/Run"));
}

TEST(Banner, ShowsTheCredentialsOfCallers) {
  Config config;
  config.tls_cert = "tls.crt";
  config.tls_client_ca = "ca.crt";
  config.tokens = "tokens.json";
  const std::string text = BannerOf(config, "127.0.0.1:7");
  EXPECT_THAT(text, Not(HasSubstr("-plaintext")));
  EXPECT_THAT(text, HasSubstr("grpcurl -cacert CA.pem -cert CLIENT.pem -key CLIENT.key "
                              "-H \"authorization: Bearer $SCALPEL_TOKEN\" -d"));
}

}  // namespace
}  // namespace scalpel
