#include "server/access/token_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace scalpel::access {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The hashes are those that sha256sum prints.
constexpr char kAlice[] = "scalpel_token_of_alice_0123456789abcdef";
constexpr char kAliceHash[] = "73d1d70db07a71413dd6556c58c00f91427cd14e5c440d1708d310e7a7cbce33";
constexpr char kBob[] = "scalpel_token_of_bob_0123456789abcdef";
constexpr char kBobHash[] = "25a7c8059bbdedef81d9804d6542d9125b345c94a823f47fb7703c0bee1106b8";

std::string Entry(const std::string& name, const std::string& hash, const std::string& more = "") {
  return absl::StrCat(R"({"name":")", name, R"(","sha256":")", hash, R"(","role":"runner")", more,
                      "}");
}

std::string File(const std::string& entries) {
  return absl::StrCat(R"({"tokens":[)", entries, "]}");
}

// Why the file is refused; empty: it is not.
std::string Problem(const std::string& text) {
  const absl::Status status = TokenList::Parse(text).status();
  if (status.ok()) return "";
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(status.message());
}

// Why an entry with this more in it is refused.
std::string FieldProblem(const std::string& more) {
  return Problem(File(Entry("alice", kAliceHash, more)));
}

TEST(TokenList, ReadsAllFields) {
  const auto list = TokenList::Parse(File(absl::StrCat(
      Entry("alice", kAliceHash,
            R"(,"expires":"2027-01-01T00:00:00Z","max_calls":4,"max_tokens_per_second":20000)"),
      ",", R"({"name":"b.o_b@x-1","sha256":")", absl::AsciiStrToUpper(kBobHash),
      R"(","role":"operator"})")));
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->entries().size(), 2);
  const TokenEntry& alice = list->entries()[0];
  EXPECT_EQ(alice.name, "alice");
  EXPECT_EQ(alice.hash, HashOf(kAlice));
  EXPECT_EQ(alice.role, v1::ROLE_RUNNER);
  EXPECT_EQ(alice.expires, absl::FromCivil(absl::CivilDay(2027, 1, 1), absl::UTCTimeZone()));
  EXPECT_EQ(alice.calls_max, 4);
  EXPECT_EQ(alice.tokens_per_second_max, 20000);
  const TokenEntry& bob = list->entries()[1];
  EXPECT_EQ(bob.name, "b.o_b@x-1");
  EXPECT_EQ(bob.hash, HashOf(kBob));
  EXPECT_EQ(bob.role, v1::ROLE_OPERATOR);
  EXPECT_EQ(bob.expires, absl::InfiniteFuture());
  EXPECT_EQ(bob.calls_max, std::nullopt);
  EXPECT_EQ(bob.tokens_per_second_max, std::nullopt);
}

TEST(TokenList, MayBeEmpty) {
  const auto list = TokenList::Parse(File(""));
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->Find(kAlice), nullptr);
}

TEST(TokenList, FindsOnlyExactTokens) {
  const auto list =
      TokenList::Parse(File(absl::StrCat(Entry("alice", kAliceHash), ",", Entry("bob", kBobHash))));
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_NE(list->Find(kAlice), nullptr);
  EXPECT_EQ(list->Find(kAlice)->name, "alice");
  ASSERT_NE(list->Find(kBob), nullptr);
  EXPECT_EQ(list->Find(kBob)->name, "bob");

  const std::string token = kAlice;
  EXPECT_EQ(list->Find(""), nullptr);
  EXPECT_EQ(list->Find(kAliceHash), nullptr);  // a hash from the file is not a token
  EXPECT_EQ(list->Find(token.substr(0, token.size() - 1)), nullptr);
  EXPECT_EQ(list->Find(token.substr(1)), nullptr);
  EXPECT_EQ(list->Find(token + "0"), nullptr);
  EXPECT_EQ(list->Find(token + std::string(1, '\0')), nullptr);
  for (size_t i = 0; i < token.size(); ++i) {
    std::string near_miss = token;
    near_miss[i] ^= 1;
    EXPECT_EQ(list->Find(near_miss), nullptr) << near_miss;
  }
}

TEST(TokenList, ComparesEveryByteOfTheHash) {
  for (size_t byte = 0; byte < HashOf(kAlice).size(); ++byte) {
    TokenEntry entry{.name = "alice", .hash = HashOf(kAlice)};
    entry.hash[byte] ^= 0x80;
    EXPECT_EQ(TokenList({entry}).Find(kAlice), nullptr) << byte;
  }
}

TEST(TokenList, NeverFindsAShortToken) {
  const std::string shortest(kTokenCharactersMin, 'x');
  const std::string shorter = shortest.substr(1);
  const TokenList list({{.name = "shortest", .hash = HashOf(shortest)},
                        {.name = "shorter", .hash = HashOf(shorter)}});
  EXPECT_EQ(list.Find(shortest), &list.entries()[0]);
  EXPECT_EQ(list.Find(shorter), nullptr);
}

// A file has no two entries of one token. In a list that does, the last is found: a match does not
// end the search, so how long it takes does not tell where the match was.
TEST(TokenList, ComparesWithEveryEntryAlsoAfterAMatch) {
  std::vector<TokenEntry> entries(100, {.name = "other", .hash = HashOf(kBob)});
  for (const size_t place : {0, 42, 99}) entries[place] = {.name = "alice", .hash = HashOf(kAlice)};
  const TokenList list(entries);
  EXPECT_EQ(list.Find(kAlice), &list.entries()[99]);
}

TEST(TokenList, RefusesOtherForms) {
  for (const char* text :
       {"", "[]", "{}", "null", R"({"tokens":{}})", R"({"tokens":null})", R"({"tokens":[]} x)",
        R"({"tokens":[],"other":1})", R"({"tokens":[],"tokens":[]})", R"({"tokens":[)",
        R"({"tokens":[[[[[]]]]]})"}) {
    EXPECT_NE(Problem(text), "") << text;
  }
  EXPECT_THAT(Problem(R"({"tokens":[7]})"), HasSubstr("tokens[0]: is not an object"));
}

TEST(TokenList, RefusesUnknownAndMissingKeys) {
  EXPECT_THAT(FieldProblem(R"(,"rol":"reader")"),
              HasSubstr("tokens[0]: \"rol\" is not a key of a token"));
  EXPECT_THAT(FieldProblem(R"(,"name":"again")"), HasSubstr("duplicate key"));
  EXPECT_THAT(Problem(R"({"tokens":[{}]})"), HasSubstr("has no \"name\""));
  EXPECT_THAT(Problem(R"({"tokens":[{"name":"alice"}]})"), HasSubstr("has no \"sha256\""));
  EXPECT_THAT(
      Problem(absl::StrCat(R"({"tokens":[{"name":"alice","sha256":")", kAliceHash, R"("}]})")),
      HasSubstr("has no \"role\""));
}

TEST(TokenList, RefusesABadName) {
  for (const std::string name : {"", "al ice", "alice\\n", "\xC3\xA9", "a/b", "a=b"}) {
    EXPECT_THAT(Problem(File(Entry(name, kAliceHash))), HasSubstr("\"name\" is not 1 to 64"))
        << name;
  }
  EXPECT_EQ(Problem(File(Entry(std::string(64, 'a'), kAliceHash))), "");
  EXPECT_NE(Problem(File(Entry(std::string(65, 'a'), kAliceHash))), "");
}

TEST(TokenList, RefusesABadHashAndDoesNotQuoteIt) {
  const std::string digits = kAliceHash;
  for (const std::string& hash :
       {std::string(), digits.substr(1), digits + "0", "g" + digits.substr(1),
        "0x" + digits.substr(2), std::string("scalpel_a_token_where_its_hash_should_be")}) {
    const std::string problem = Problem(File(Entry("alice", hash)));
    EXPECT_THAT(problem, HasSubstr("tokens[0]: \"sha256\" is not 64 hexadecimal digits")) << hash;
    if (!hash.empty()) {
      EXPECT_THAT(problem, Not(HasSubstr(hash)));
    }
  }
}

TEST(TokenList, RefusesABadRole) {
  for (const char* role : {R"("admin")", R"("")", "1", "null"}) {
    EXPECT_THAT(Problem(File(absl::StrCat(R"({"name":"alice","sha256":")", kAliceHash,
                                          R"(","role":)", role, "}"))),
                HasSubstr("\"role\" is not one of reader, runner, operator"))
        << role;
  }
}

TEST(TokenList, RefusesABadTime) {
  for (const char* time :
       {R"("")", R"("tomorrow")", R"("2027-01-01")", R"("2027-01-01T00:00:00")",
        R"("2027-13-01T00:00:00Z")", R"("2027-02-30T00:00:00Z")", R"("2027-01-01 00:00:00Z")",
        R"(" 2027-01-01T00:00:00Z")", R"("2027-01-01T00:00:00Z ")", R"("infinite-future")",
        R"("infinite-past-and-more")", R"("02027-01-01T00:00:00Z")", "1798761600"}) {
    EXPECT_THAT(FieldProblem(absl::StrCat(R"(,"expires":)", time)),
                HasSubstr("\"expires\" is not an RFC 3339 time"))
        << time;
  }
}

TEST(TokenList, TakesTheTimesOfRfc3339) {
  const absl::Time noon =
      absl::FromCivil(absl::CivilSecond(2027, 6, 1, 12, 0, 0), absl::UTCTimeZone());
  for (const char* time : {"2027-06-01T12:00:00Z", "2027-06-01T14:00:00+02:00",
                           "2027-06-01T07:30:00-04:30", "2027-06-01T12:00:00.000Z"}) {
    const auto list = TokenList::Parse(
        File(Entry("alice", kAliceHash, absl::StrCat(R"(,"expires":")", time, "\""))));
    ASSERT_TRUE(list.ok()) << list.status();
    EXPECT_EQ(list->entries()[0].expires, noon) << time;
  }
}

TEST(TokenList, RefusesInvalidNumbers) {
  for (const char* number : {"-1", "1.5", "1e2", "\"4\"", "null", "1000001", "true",
                             "18446744073709551615", "99999999999999999999"}) {
    EXPECT_THAT(FieldProblem(absl::StrCat(R"(,"max_calls":)", number)),
                HasSubstr("\"max_calls\" is not a whole number in [0, 1000000]"))
        << number;
  }
  EXPECT_NE(FieldProblem(R"(,"max_tokens_per_second":1000000000001)"), "");
  EXPECT_EQ(FieldProblem(R"(,"max_calls":0,"max_tokens_per_second":1000000000000)"), "");
}

TEST(TokenList, RefusesDuplicateNamesAndTokens) {
  EXPECT_THAT(Problem(File(absl::StrCat(Entry("a", kAliceHash), ",", Entry("a", kBobHash)))),
              HasSubstr("tokens[1]: another entry has the same name"));
  EXPECT_THAT(Problem(File(absl::StrCat(Entry("a", kAliceHash), ",",
                                        Entry("b", absl::AsciiStrToUpper(kAliceHash))))),
              HasSubstr("tokens[1]: another entry has the same token"));
}

TEST(TokenList, HasLimits) {
  std::string zeros = "0";
  for (size_t i = 1; i < kTokensMax; ++i) absl::StrAppend(&zeros, ",0");
  EXPECT_THAT(Problem(File(zeros)), HasSubstr("tokens[0]: is not an object"));
  EXPECT_THAT(Problem(File(zeros + ",0")), HasSubstr("10001 entries; the limit is 10000"));

  const std::string entry = Entry("alice", kAliceHash);
  const size_t room = kTokenFileBytesMax - File(entry).size();
  EXPECT_EQ(Problem(File(entry + std::string(room, ' '))), "");
  EXPECT_THAT(Problem(File(entry + std::string(room + 1, ' '))), HasSubstr("1048576 bytes"));
}

}  // namespace
}  // namespace scalpel::access
