#include "server/config.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace scalpel {
namespace {

absl::StatusOr<Config> Parse(std::vector<const char*> flags) {
  flags.insert(flags.begin(), "scalpel-server");
  return ParseFlags(static_cast<int>(flags.size()), flags.data());
}

TEST(ParseFlags, Defaults) {
  const auto config = Parse({"--model", "models/tiny"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model, "models/tiny");
  EXPECT_EQ(config->model_name, "tiny");
  EXPECT_EQ(config->listen, "127.0.0.1:50051");
  EXPECT_EQ(config->device, "auto");
  EXPECT_EQ(config->threads, 0);
  EXPECT_EQ(config->log_level, "info");
  EXPECT_EQ(config->limits.queue_max, Limits().queue_max);
}

TEST(ParseFlags, EveryFlagInBothForms) {
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
  EXPECT_EQ(config->limits.response_bytes_max, 70000);
  EXPECT_EQ(config->limits.request_bytes_max, 80000);
  EXPECT_EQ(config->limits.tokens_max, 90);
  EXPECT_EQ(config->limits.queue_max, 4);
  EXPECT_EQ(config->limits.buffered_bytes_max, 100000);
  EXPECT_EQ(config->limits.drain_seconds_max, 0);
  EXPECT_EQ(config->log_level, "warn");
}

TEST(ParseFlags, TheLastOneCounts) {
  EXPECT_EQ(Parse({"--model", "a", "--model", "b"})->model, "b");
}

TEST(ParseFlags, HelpAndVersionNeedNothingElse) {
  EXPECT_TRUE(Parse({"--help"})->help);
  EXPECT_TRUE(Parse({"--version"})->version);
}

TEST(ParseFlags, HelpNamesEveryFlag) {
  for (const char* flag :
       {"--model DIR", "--model-name NAME", "--listen HOST:PORT", "--device DEVICE", "--threads N",
        "--max-response-bytes N", "--max-request-bytes N", "--max-tokens N", "--max-queue N",
        "--max-buffered-bytes N", "--drain-seconds N", "--log-level LEVEL", "--help",
        "--version"}) {
    EXPECT_NE(HelpText().find(flag), std::string::npos) << flag;
  }
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
        Wrong{{"--modell", "x"}, "--modell: no such flag; --help lists them"},
        Wrong{{"model"}, "model: no such flag; --help lists them"},
        Wrong{{"-h"}, "-h: no such flag; --help lists them"},
        Wrong{{"--"}, "--: no such flag; --help lists them"},
        Wrong{{"--help=yes"}, "--help: takes no value; leave it out"},
        Wrong{{"--threads", "0"}, "--threads: \"0\" is not a whole number in [1, 1024]"},
        Wrong{{"--threads", "two"}, "--threads: \"two\" is not a whole number in [1, 1024]"},
        Wrong{{"--max-queue=99999999999999999999"},
              "--max-queue: \"99999999999999999999\" is not a whole number in [1, 100000]"},
        Wrong{{"--max-request-bytes=2147483648"},
              "--max-request-bytes: \"2147483648\" is not a whole number in [1024, 2147483647]"},
        Wrong{{"--device", "tpu"}, "--device: \"tpu\" is none of auto, cpu, cuda"},
        Wrong{{"--log-level", "loud"},
              "--log-level: \"loud\" is none of debug, info, warn, error, off"},
        Wrong{{"--model-name", "a b"},
              "--model-name: \"a b\" has spaces or bytes that are not ASCII; leave them out"},
        Wrong{{"--model", "m", "--max-buffered-bytes", "65536"},
              "--max-buffered-bytes: 65536 is less than --max-response-bytes, 1073741824; raise it "
              "or "
              "lower the other"}));

TEST(ParseFlags, AddressesAreHostAndPort) {
  for (const char* good : {"0.0.0.0:1", "localhost:65535", "[::1]:50051", "[::]:0"}) {
    EXPECT_TRUE(Parse({"--model", "m", "--listen", good}).ok()) << good;
  }
  for (const char* bad : {"", "50051", ":50051", "host", "host:", "host:x", "host:-1", "host:65536",
                          "::1:50051", "[::1]", "unix:/x:1", "a b:1"}) {
    const auto config = Parse({"--model", "m", "--listen", bad});
    ASSERT_FALSE(config.ok()) << bad;
    EXPECT_EQ(config.status().message().find("--listen: "), 0u) << config.status();
  }
}

TEST(DefaultModelName, IsTheFoldersOwn) {
  EXPECT_EQ(DefaultModelName("/models/gpt2-xl"), "gpt2-xl");
  EXPECT_EQ(DefaultModelName("/models/gpt2-xl/"), "gpt2-xl");
  EXPECT_EQ(DefaultModelName("/models/gpt2-xl/."), "gpt2-xl");
  EXPECT_EQ(DefaultModelName("/models/x/../gpt2"), "gpt2");
  EXPECT_EQ(DefaultModelName("/"), "model");
}

TEST(DefaultModelName, OfASnapshotIsTheRepositorys) {
  EXPECT_EQ(DefaultModelName("/hub/models--openai-community--gpt2/snapshots/607a30d"), "gpt2");
  EXPECT_EQ(DefaultModelName("/hub/models--distilgpt2/snapshots/2290a62/"), "distilgpt2");
  EXPECT_EQ(DefaultModelName("/my/snapshots/today"), "today");
}

}  // namespace
}  // namespace scalpel
