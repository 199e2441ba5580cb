#include "server/access/new_token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/access/token_list.h"

namespace scalpel::access {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(MakeToken, TokenMatchesItsEntry) {
  const auto made = MakeToken("alice");
  ASSERT_TRUE(made.ok()) << made.status();
  const auto list = TokenList::Parse(absl::StrCat(R"({"tokens":[)", made->entry, "]}"));
  ASSERT_TRUE(list.ok()) << list.status();
  const TokenEntry* entry = list->Find(made->token);
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->name, "alice");
  EXPECT_EQ(entry->role, v1::ROLE_RUNNER);
  EXPECT_EQ(entry->expires, absl::InfiniteFuture());
}

TEST(MakeToken, TheTokenIs32BytesInBase64Url) {
  const auto made = MakeToken("alice");
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(made->token, StartsWith("scalpel_"));
  EXPECT_EQ(made->token.size(), 8 + 43);
  for (const unsigned char c : made->token) {
    EXPECT_TRUE(absl::ascii_isalnum(c) || c == '-' || c == '_') << c;
  }
}

TEST(MakeToken, TokensAreUnique) {
  std::set<std::string> tokens;
  for (int i = 0; i < 100; ++i) tokens.insert(MakeToken("alice")->token);
  EXPECT_EQ(tokens.size(), 100);
}

TEST(MakeToken, RefusesABadName) {
  for (const std::string name : {"", "al\"ice", "a b"}) {
    EXPECT_EQ(MakeToken(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(NewTokenText(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

TEST(NewTokenText, IsOneLineForTheTokenAndOneForItsEntry) {
  const auto text = NewTokenText("alice");
  ASSERT_TRUE(text.ok()) << text.status();
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n');
  ASSERT_EQ(lines.size(), 3);
  EXPECT_EQ(lines[2], "");
  EXPECT_THAT(lines[1], Not(HasSubstr(lines[0])));
  const auto list = TokenList::Parse(absl::StrCat(R"({"tokens":[)", lines[1], "]}"));
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_NE(list->Find(lines[0]), nullptr);
}

}  // namespace
}  // namespace scalpel::access
