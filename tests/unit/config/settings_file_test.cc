// What the file of settings sets, and what is refused of it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "server/config/config.h"
#include "tests/unit/config/parse.h"
#include "tests/unit/model/temp_folder.h"

namespace scalpel {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class SettingsFile : public model::TempFolderTest {
 protected:
  // Reads settings from a file of this content, beside flags.
  absl::StatusOr<Config> Read(const std::string& text, std::vector<const char*> flags = {},
                              std::vector<const char*> environment = {}) {
    Write(file_, text);
    flags.insert(flags.begin(), {"--model=m", "--config", file_.c_str()});
    return Parse(std::move(flags), std::move(environment));
  }

  // What is wrong with such a file, without the file's name.
  std::string ProblemOf(const std::string& text) {
    const std::string message(Read(text).status().message());
    const std::string name = file_.string() + ": ";
    EXPECT_THAT(message, StartsWith(name));
    return message.substr(std::min(name.size(), message.size()));
  }

  const std::string& file() { return file_.native(); }

 private:
  void SetUp() override {
    TempFolderTest::SetUp();
    file_ = root_ / "settings.json";
  }
  std::filesystem::path file_;
};

TEST_F(SettingsFile, TakesTextNumbersAndBooleans) {
  const auto config = Read(
      R"({"max-queue": 5, "threads": "2", "device": "cpu", "allow-insecure": true,
          "listen": "0.0.0.0:1"})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->limits->max_queue(), 5);
  EXPECT_EQ(config->threads, 2);
  EXPECT_EQ(config->device, "cpu");
  EXPECT_TRUE(config->allow_insecure);
  EXPECT_EQ(config->listen, "0.0.0.0:1");
}

TEST_F(SettingsFile, IsOverriddenByVariablesAndTheseByFlags) {
  const std::string text = R"({"max-queue": 1, "max-tokens": 1, "max-probes": 1})";
  const auto config =
      Read(text, {"--max-queue=3"}, {"SCALPEL_MAX_QUEUE=2", "SCALPEL_MAX_TOKENS=2"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->limits->max_queue(), 3);
  EXPECT_EQ(config->limits->max_tokens(), 2);
  EXPECT_EQ(config->limits->max_probes(), 1);
  EXPECT_EQ(config->limits->max_captures(), Limits()->max_captures());
  EXPECT_EQ(SettingsLine(*config), absl::StrCat("config=", file(),
                                                " (flag), max-probes=1 (file), max-queue=3 (flag), "
                                                "max-tokens=2 (environment), model=m (flag)"));
}

TEST_F(SettingsFile, MayBeNamedByAVariable) {
  Write(root_ / "other.json", R"({"model": "of-the-file"})");
  const std::string variable = absl::StrCat("SCALPEL_CONFIG=", (root_ / "other.json").string());
  const auto config = Parse({}, {variable.c_str()});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model, "of-the-file");
}

TEST_F(SettingsFile, MistakesAreNamed) {
  EXPECT_EQ(ProblemOf(R"({"max_queue": 5})"),
            "max_queue: no such setting; did you mean max-queue?");
  EXPECT_EQ(ProblemOf(R"({"colour": 5})"), "colour: no such setting; --help lists them");
  EXPECT_EQ(ProblemOf(R"({"max-queue": 5.5})"),
            "max-queue: \"5.5\" is not a whole number in [1, 100000]");
  EXPECT_EQ(ProblemOf(R"({"max-queue": true})"),
            "max-queue: \"true\" is not a whole number in [1, 100000]");
  for (const char* value : {"null", "[5]", R"({"n": 5})"}) {
    EXPECT_EQ(ProblemOf(absl::StrCat(R"({"max-queue": )", value, "}")),
              "max-queue: is not a string, number, true or false");
  }
  EXPECT_EQ(ProblemOf(R"({"listen": "127.0.0.1\u0000:1"})"), "listen: has a NUL; leave it out");
  EXPECT_EQ(ProblemOf(R"({"config": "x"})"), "config: belongs on the command line; give --config");
  EXPECT_EQ(ProblemOf(R"({"listen": "0.0.0.0:1", "tls-cert": "c", "tls-key": "k"})"),
            "listen: other machines may reach 0.0.0.0:1; give --tokens or --tls-client-ca, or "
            "--allow-insecure to let all of them call");
}

TEST_F(SettingsFile, IsOneSmallJsonObject) {
  EXPECT_EQ(ProblemOf("[]"), "is not a JSON object; give one that maps flags to values");
  EXPECT_THAT(ProblemOf(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(ProblemOf(R"({"threads": 1,})"), HasSubstr("not valid JSON near byte 15"));
  EXPECT_EQ(ProblemOf(R"({"threads": 1, "threads": 2})"), "duplicate key \"threads\"");
  EXPECT_THAT(ProblemOf(R"({"threads": [[1]]})"), HasSubstr("nested deeper"));
  const std::string blank((1 << 20) - 2, ' ');
  EXPECT_TRUE(Read("{" + blank + "}").ok());
  EXPECT_EQ(ProblemOf("{ " + blank + "}"), "is larger than 1 MiB");
}

TEST_F(SettingsFile, IsAnErrorIfUnreadable) {
  const std::string missing = (root_ / "missing.json").string();
  EXPECT_EQ(Parse({"--config", missing.c_str()}).status().message(),
            absl::StrCat(missing, ": cannot be read: No such file or directory"));
  const std::string folder = root_.string();
  EXPECT_EQ(Parse({"--config", folder.c_str()}).status().message(),
            absl::StrCat(folder, ": cannot be read: Is a directory"));
}

}  // namespace
}  // namespace scalpel
