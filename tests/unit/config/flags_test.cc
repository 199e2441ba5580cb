// What the command line sets, and what is refused of it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/config/help_text.h"
#include "server/config/settings.h"
#include "tests/unit/config/parse.h"

namespace scalpel {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Flags, Defaults) {
  const auto config = Parse({"--model", "models/tiny"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model, "models/tiny");
  EXPECT_EQ(config->model_name, "tiny");
  EXPECT_EQ(config->listen, "127.0.0.1:50051");
  EXPECT_EQ(config->device, "auto");
  EXPECT_EQ(config->threads, 0);
  EXPECT_EQ(config->log_level, "info");
  EXPECT_EQ(config->limits->max_queue(), Limits()->max_queue());
}

TEST(Flags, EveryFlagInBothForms) {
  const auto config =
      Parse({"--model=m", "--model-name", "name", "--listen=[::1]:0", "--device", "cpu",
             "--threads=3", "--max-response-bytes", "70000", "--max-request-bytes=80000",
             "--max-tokens", "90", "--max-queue=4", "--max-buffered-bytes", "100000",
             "--drain-seconds=0", "--log-level", "warn"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model_name, "name");
  EXPECT_EQ(config->listen, "[::1]:0");
  EXPECT_EQ(config->device, "cpu");
  EXPECT_EQ(config->threads, 3);
  EXPECT_EQ(config->limits->max_response_bytes(), 70000);
  EXPECT_EQ(config->limits->max_request_bytes(), 80000);
  EXPECT_EQ(config->limits->max_tokens(), 90);
  EXPECT_EQ(config->limits->max_queue(), 4);
  EXPECT_EQ(config->limits->max_buffered_bytes(), 100000);
  EXPECT_EQ(config->drain_seconds, 0);
  EXPECT_EQ(config->log_level, "warn");
}

TEST(Flags, TheLastOneCounts) { EXPECT_EQ(Parse({"--model", "a", "--model", "b"})->model, "b"); }

TEST(Flags, HelpVersionAndNewTokenNeedNothingElse) {
  EXPECT_TRUE(Parse({"--help"}, {"SCALPEL_NONSENSE=1"})->help);
  EXPECT_TRUE(Parse({"--version", "--config", "/nowhere"})->version);
  EXPECT_EQ(Parse({"--new-token", "alice"}, {"SCALPEL_NONSENSE=1"})->new_token, "alice");
}

// It runs in the server's container, with the server's variables.
TEST(Flags, HealthcheckReadsEverythingAndRequiresNothing) {
  const auto config =
      Parse({"--healthcheck"}, {"SCALPEL_LISTEN=0.0.0.0:7", "SCALPEL_TLS_CERT=c.pem"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->healthcheck);
  EXPECT_EQ(config->listen, "0.0.0.0:7");
  EXPECT_EQ(config->tls_cert, "c.pem");
}

TEST(Flags, HelpNamesEveryFlagAndDefault) {
  const std::string text = HelpText();
  for (const char* line :
       {"\n  --model DIR ", "\n  --tls-client-ca FILE ", "\n  --allow-insecure ",
        "\n  --max-queue N                        requests that wait for the engine (default 64)\n",
        "default 16 MiB)", "default 1 GiB)", "\n  --new-token NAME ", "\n  --version "}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  for (const SettingGroup& group : SettingGroups()) {
    EXPECT_THAT(text, HasSubstr(absl::StrCat("\n\n", group.title, ":\n")));
    for (const Setting& setting : group.settings) {
      EXPECT_THAT(text, HasSubstr(absl::StrCat("\n  --", setting.name, " ", setting.value)));
    }
  }
  size_t longest = 0, begin = 0;
  for (size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    longest = std::max(longest, end - begin);
  }
  EXPECT_LE(longest, 110u);
}

TEST(Flags, NoTwoSettingsHaveOneName) {
  for (const SettingGroup& group : SettingGroups()) {
    for (const Setting& setting : group.settings) EXPECT_EQ(FindSetting(setting.name), &setting);
  }
}

TEST(Flags, AccessAndLogFlagsAreRead) {
  const auto config = Parse(
      {"--model", "m", "--tls-cert=c.pem", "--tls-key", "k.pem", "--tls-client-ca", "ca.pem",
       "--tokens=t.json", "--metrics-listen", "0.0.0.0:9090", "--log-format=json", "--slow-call-ms",
       "0", "--lame-duck-seconds", "5", "--allow-insecure", "--cache-scope", "caller"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->tls_cert, "c.pem");
  EXPECT_EQ(config->tls_key, "k.pem");
  EXPECT_EQ(config->tls_client_ca, "ca.pem");
  EXPECT_EQ(config->tokens, "t.json");
  EXPECT_EQ(config->metrics_listen, "0.0.0.0:9090");
  EXPECT_EQ(config->log_format, "json");
  EXPECT_EQ(config->slow_call_ms, 0);
  EXPECT_EQ(config->lame_duck_seconds, 5);
  EXPECT_TRUE(config->allow_insecure);
  EXPECT_EQ(config->cache_scope, "caller");
  EXPECT_EQ(Config().cache_scope, "shared");
}

struct Wrong {
  std::vector<const char*> flags;
  std::string message;
};

class WrongFlags : public testing::TestWithParam<Wrong> {};

TEST_P(WrongFlags, AreRefusedByNameWithTheRemedy) {
  const auto config = Parse(GetParam().flags);
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(config.status().message(), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, WrongFlags,
    testing::Values(
        Wrong{{}, "--model: is required; give the folder with config.json"},
        Wrong{{"--model"}, "--model: needs a value: --model DIR"},
        Wrong{{"--model="}, "--model: \"\" is empty; give the folder with config.json"},
        Wrong{{"--modell", "x"}, "--modell: no such flag; did you mean --model?"},
        Wrong{{"--max_queue=1"}, "--max_queue=1: no such flag; did you mean --max-queue?"},
        Wrong{{"--something-else"}, "--something-else: no such flag; --help lists them"},
        Wrong{{"model"}, "model: no such flag; did you mean --model?"},
        Wrong{{"-h"}, "-h: no such flag; --help lists them"},
        Wrong{{"--"}, "--: no such flag; --help lists them"},
        Wrong{{"--help=yes"}, "--help: takes no value; leave it out"},
        Wrong{{"--healthcheck=no"}, "--healthcheck: takes no value; leave it out"},
        Wrong{{"--allow-insecure=maybe"}, "--allow-insecure: \"maybe\" is not one of true, false"},
        Wrong{{"--new-token", ""}, "--new-token: \"\" is not 1 to 64 characters long"},
        Wrong{{"--tokens="}, "--tokens: \"\" is empty; give a JSON file"},
        Wrong{
            {"--metrics-listen", "9090"},
            "--metrics-listen: \"9090\" is not HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051"},
        Wrong{{"--threads", "0"}, "--threads: \"0\" is not a whole number in [1, 1024]"},
        Wrong{{"--threads", "two"}, "--threads: \"two\" is not a whole number in [1, 1024]"},
        Wrong{{"--max-queue=99999999999999999999"},
              "--max-queue: \"99999999999999999999\" is not a whole number in [1, 100000]"},
        Wrong{{"--max-request-bytes=2147483648"},
              "--max-request-bytes: \"2147483648\" is not a whole number in [1024, 2147483647]"},
        Wrong{{"--device", "tpu"}, "--device: \"tpu\" is not one of auto, cpu, cuda"},
        Wrong{{"--cache-scope", "role"}, "--cache-scope: \"role\" is not one of shared, caller"},
        Wrong{{"--log-level", "loud"},
              "--log-level: \"loud\" is not one of debug, info, warn, error, off"},
        Wrong{{"--model-name", "a b"},
              "--model-name: \"a b\" has spaces or bytes that are not ASCII; leave them out"},
        Wrong{{"--model", "m", "--max-buffered-bytes", "65536"},
              "--max-buffered-bytes: 65536 is less than --max-response-bytes, 1073741824; raise it "
              "or lower the other"},
        Wrong{{"--model=m", "--max-request-bytes=67108865"},
              "--transport-bytes: 268435456 is less than four times --max-request-bytes, 67108865; "
              "raise it or lower the other"},
        Wrong{{"--model=m", "--tls-cert=c"}, "--tls-cert: needs --tls-key too"},
        Wrong{{"--model=m", "--tls-key=k"}, "--tls-key: needs --tls-cert too"},
        Wrong{{"--model=m", "--tls-client-ca=a"},
              "--tls-client-ca: needs --tls-cert and --tls-key too"},
        Wrong{
            {"--model=m", "--metrics-listen=127.0.0.1:50051"},
            "--metrics-listen: 127.0.0.1:50051 is also the address of --listen; give another port"},
        Wrong{{"--model=m", "--listen=0.0.0.0:1"},
              "--listen: other machines may reach 0.0.0.0:1; give --tls-cert and --tls-key, "
              "--tokens or --tls-client-ca, or --allow-insecure to let all of them call"},
        Wrong{{"--model=m", "--listen=0.0.0.0:1", "--tokens=t"},
              "--listen: other machines may reach 0.0.0.0:1; give --tls-cert and --tls-key, "
              "or --allow-insecure to let all of them call"},
        Wrong{{"--model=m", "--listen=0.0.0.0:1", "--tls-cert=c", "--tls-key=k"},
              "--listen: other machines may reach 0.0.0.0:1; give --tokens or --tls-client-ca, "
              "or --allow-insecure to let all of them call"}));

TEST(Flags, AddressesAreHostAndPort) {
  for (const char* good : {"0.0.0.0:1", "localhost:65535", "[::1]:50051", "[::]:0"}) {
    EXPECT_TRUE(Parse({"--model", "m", "--allow-insecure", "--listen", good}).ok()) << good;
  }
  for (const char* bad : {"", "50051", ":50051", "host", "host:", "host:x", "host:-1", "host:65536",
                          "::1:50051", "[::1]", "unix:/x:1", "a b:1"}) {
    const auto config = Parse({"--model", "m", "--listen", bad});
    ASSERT_FALSE(config.ok()) << bad;
    EXPECT_THAT(std::string(config.status().message()),
                AllOf(StartsWith("--listen: "), HasSubstr("HOST:PORT")));
  }
}

TEST(Flags, OnlyLoopbackAddressesNeedNoAccessControl) {
  for (const char* loopback : {"127.0.0.1:1", "127.8.9.10:1", "localhost:1", "LocalHost:1",
                               "[::1]:1", "[0:0:0:0:0:0:0:1]:1"}) {
    EXPECT_TRUE(Parse({"--model", "m", "--listen", loopback}).ok()) << loopback;
  }
  for (const char* reached :
       {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "128.0.0.1:1", "[fe80::1]:1", "127.example.org:1",
        "localhost.example.org:1", "[localhost]:1", "127:1", "[::ffff:10.0.0.1]:1"}) {
    std::vector<const char*> flags = {"--model", "m", "--listen", reached};
    EXPECT_FALSE(Parse(flags).ok()) << reached;
    EXPECT_TRUE(Parse(flags, {"SCALPEL_ALLOW_INSECURE=true"}).ok()) << reached;
    flags.insert(flags.end(), {"--tls-cert=c", "--tls-key=k"});
    EXPECT_FALSE(Parse(flags).ok()) << reached;
    EXPECT_TRUE(Parse(flags, {"SCALPEL_TOKENS=t"}).ok()) << reached;
    EXPECT_TRUE(Parse(flags, {"SCALPEL_TLS_CLIENT_CA=a"}).ok()) << reached;
  }
}

}  // namespace
}  // namespace scalpel
