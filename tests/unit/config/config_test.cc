#include "server/config/config.h"

#include <gtest/gtest.h>

#include "tests/unit/config/parse.h"

namespace scalpel {
namespace {

TEST(SettingsLine, ShowsValuesAndSourcesOnOneLine) {
  EXPECT_EQ(SettingsLine(Config()), "all by default");
  const auto config = Parse({"--model", "a\nb"}, {"SCALPEL_THREADS=2", "SCALPEL_TOKEN=secret"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(SettingsLine(*config), "model=a\\nb (flag), threads=2 (environment)");
}

TEST(DefaultModelName, IsTheFoldersOwn) {
  EXPECT_EQ(DefaultModelName("/models/gpt2-xl"), "gpt2-xl");
  EXPECT_EQ(DefaultModelName("/models/gpt2-xl/"), "gpt2-xl");
  EXPECT_EQ(DefaultModelName("/models/gpt2-xl/."), "gpt2-xl");
  EXPECT_EQ(DefaultModelName("/models/x/../gpt2"), "gpt2");
  EXPECT_EQ(DefaultModelName("/"), "model");
}

TEST(DefaultModelName, IsTheRepositorysForASnapshot) {
  EXPECT_EQ(DefaultModelName("/hub/models--openai-community--gpt2/snapshots/607a30d"), "gpt2");
  EXPECT_EQ(DefaultModelName("/hub/models--distilgpt2/snapshots/2290a62/"), "distilgpt2");
  EXPECT_EQ(DefaultModelName("/my/snapshots/today"), "today");
}

}  // namespace
}  // namespace scalpel
