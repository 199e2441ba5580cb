// What the environment sets, and what is refused of it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/config/parse.h"

namespace scalpel {
namespace {

using testing::StartsWith;

// What is wrong with variables beside a model that is given.
std::string MessageOf(std::vector<const char*> environment) {
  return std::string(Parse({"--model", "m"}, std::move(environment)).status().message());
}

TEST(Environment, SetsWhatNoFlagSets) {
  const auto config = Parse({"--max-queue", "3"},
                            {"PATH=/bin", "SCALPEL_MODEL=m", "SCALPEL_MAX_QUEUE=4",
                             "SCALPEL_THREADS=2", "SCALPEL_LOG_LEVEL=", "SCALPEL_MODEL_NAME=a=b"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model, "m");
  EXPECT_EQ(config->model_name, "a=b");
  EXPECT_EQ(config->limits->max_queue(), 3);
  EXPECT_EQ(config->threads, 2);
  EXPECT_EQ(config->log_level, "info");  // an empty variable is none
}

TEST(Environment, SwitchesAreTrueOrFalse) {
  EXPECT_TRUE(Parse({"--model=m"}, {"SCALPEL_ALLOW_INSECURE=1"})->allow_insecure);
  EXPECT_FALSE(Parse({"--model=m"}, {"SCALPEL_ALLOW_INSECURE=false"})->allow_insecure);
  EXPECT_FALSE(Parse({"--model=m", "--allow-insecure=false"}, {"SCALPEL_ALLOW_INSECURE=true"})
                   ->allow_insecure);
}

TEST(Environment, MistakesAreShortened) {
  const std::string name = "SCALPEL_" + std::string(1000, 'X') + "=";
  EXPECT_EQ(MessageOf({name.c_str()}),
            absl::StrCat(name.substr(0, 120), "...: no such setting; --help lists them"));
  const std::string value = "SCALPEL_DEVICE=" + std::string(1000, 'x');
  EXPECT_EQ(MessageOf({value.c_str()}), absl::StrCat("SCALPEL_DEVICE: \"", std::string(120, 'x'),
                                                     "...\" is not one of auto, cpu, cuda"));
}

TEST(Environment, MistakesStayOneLineOfText) {
  EXPECT_EQ(MessageOf({"SCALPEL_DEVICE=a\nb\xff"}),
            "SCALPEL_DEVICE: \"a\\nb\ufffd\" is not one of auto, cpu, cuda");
  const std::string value = "SCALPEL_DEVICE=" + std::string(119, 'x') + "\u00e9";
  EXPECT_EQ(MessageOf({value.c_str()}), absl::StrCat("SCALPEL_DEVICE: \"", std::string(119, 'x'),
                                                     "...\" is not one of auto, cpu, cuda"));
}

TEST(Environment, MistakesAreNamed) {
  EXPECT_EQ(MessageOf({"SCALPEL_MAX_QUEU=4"}),
            "SCALPEL_MAX_QUEU: no such setting; did you mean SCALPEL_MAX_QUEUE?");
  EXPECT_EQ(MessageOf({"SCALPEL_max_queue=4"}),
            "SCALPEL_max_queue: no such setting; did you mean SCALPEL_MAX_QUEUE?");
  EXPECT_EQ(MessageOf({"SCALPEL_COLOUR="}), "SCALPEL_COLOUR: no such setting; --help lists them");
  EXPECT_EQ(MessageOf({"SCALPEL_MAX_QUEUE=four"}),
            "SCALPEL_MAX_QUEUE: \"four\" is not a whole number in [1, 100000]");
  EXPECT_EQ(MessageOf({"SCALPEL_HEALTHCHECK=1"}),
            "SCALPEL_HEALTHCHECK: belongs on the command line; give --healthcheck");
  EXPECT_THAT(MessageOf({"SCALPEL_LISTEN=0.0.0.0:1"}),
              StartsWith("SCALPEL_LISTEN: other machines"));
  EXPECT_THAT(MessageOf({"SCALPEL_MAX_RESPONSE_BYTES=4294967296"}),
              StartsWith("--max-buffered-bytes: 2147483648 is less than "
                         "SCALPEL_MAX_RESPONSE_BYTES, 4294967296"));
}

TEST(Environment, VariablesOfOthersAreIgnored) {
  EXPECT_EQ(
      MessageOf({"SCALPEL_SERVER=host:1", "SCALPEL_SERVER_ADDRESS=host:1", "SCALPEL_TOKEN=secret",
                 // As Kubernetes makes them of services named scalpel and scalpel-b.
                 "SCALPEL_PORT=tcp://10.0.0.1:50051", "SCALPEL_SERVICE_HOST=10.0.0.1",
                 "SCALPEL_SERVICE_PORT=50051", "SCALPEL_SERVICE_PORT_GRPC=50051",
                 "SCALPEL_PORT_50051_TCP=tcp://10.0.0.1:50051", "SCALPEL_PORT_50051_TCP_PROTO=tcp",
                 "SCALPEL_PORT_50051_TCP_PORT=50051", "SCALPEL_PORT_50051_TCP_ADDR=10.0.0.1",
                 "SCALPEL_B_PORT=tcp://10.0.0.1:1", "SCALPEL_B_SERVICE_HOST=10.0.0.1",
                 "SCALPEL_B_SERVICE_PORT_HTTP=1", "SCALPEL_B_PORT_1_UDP_ADDR=10.0.0.1"}),
      "");
  EXPECT_NE(MessageOf({"SCALPEL_PORT_=1"}), "");
  EXPECT_NE(MessageOf({"SCALPEL_PORTS=1"}), "");
}

}  // namespace
}  // namespace scalpel
