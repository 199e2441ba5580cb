#include "client/cpp/spec_grammar.h"

#include <gtest/gtest.h>

namespace scalpel::client {
namespace {

std::string ErrorOf(const std::string& text) {
  return std::string(ParseSpec("--zero", text).status().message());
}

std::vector<std::string> Texts(const std::vector<Atom>& atoms) {
  std::vector<std::string> texts;
  for (const Atom& atom : atoms) texts.push_back(atom.text);
  return texts;
}

TEST(ClientSpecGrammar, ReadsPlaceKeysListsAndWords) {
  const auto spec = ParseSpec("--probe", "K:layer=5,head=1,-3,::2,std,name=a b");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->place.text, "K");
  ASSERT_EQ(spec->fields.size(), 4u);
  EXPECT_EQ(spec->fields[0].key.text, "layer");
  EXPECT_EQ(Texts(spec->fields[0].values), std::vector<std::string>{"5"});
  EXPECT_EQ(Texts(spec->fields[1].values), (std::vector<std::string>{"1", "-3", "::2"}));
  EXPECT_EQ(spec->fields[1].values[2].at, 20u);
  EXPECT_TRUE(spec->fields[2].is_word());
  EXPECT_EQ(Texts(spec->fields[3].values), std::vector<std::string>{"a b"});
}

TEST(ClientSpecGrammar, KeepsTheSideOfAPathWithThePlace) {
  for (const auto& [text, place] : std::vector<std::pair<std::string, std::string>>{
           {"resid_post", "resid_post"},
           {"transformer.h.3.attn.c_attn:output:head=2", "transformer.h.3.attn.c_attn:output"},
           {":input:layer=2", ":input"},
           {"lm_head:output", "lm_head:output"},
           {"K:inputs", "K"}}) {
    const auto spec = ParseSpec("--zero", text);
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_EQ(spec->place.text, place);
  }
}

TEST(ClientSpecGrammar, AllowsSpacesAroundItems) {
  const auto spec = ParseSpec("--zero", "K: layer = 5 , 6");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->fields[0].key.text, "layer");
  EXPECT_EQ(Texts(spec->fields[0].values), (std::vector<std::string>{"5", "6"}));
}

TEST(ClientSpecGrammar, PointsAtTheWrongCharacter) {
  EXPECT_EQ(ErrorOf("K layer=5"),
            "--zero K layer=5\n        ^ ` ` cannot stand in a place; write PLACE:layer=5,head=2");
  EXPECT_EQ(ErrorOf("K:layer="),
            "--zero K:layer=\n               ^ a value is missing; write layer=5");
  EXPECT_EQ(ErrorOf("K:5"), "--zero K:5\n         ^ a value needs a key before it; write layer=5");
  EXPECT_EQ(ErrorOf("K:std,5"),
            "--zero K:std,5\n             ^ a value needs a key before it; write layer=5");
  EXPECT_EQ(ErrorOf("K:layer=5,,head=1"),
            "--zero K:layer=5,,head=1\n                 ^ something is missing here; write "
            "key=value or remove the comma");
  EXPECT_EQ(ErrorOf("K:layer=5,layer=6"),
            "--zero K:layer=5,layer=6\n                 ^ `layer` is given twice; remove one, or "
            "list values as layer=1,3");
  EXPECT_EQ(ErrorOf(""),
            "--zero \n       ^ a place is missing; start with a site, such as resid_post or K");
  EXPECT_EQ(ErrorOf("K:a-b=1"),
            "--zero K:a-b=1\n         ^ a key is letters, digits and `_`; write layer=5");
}

TEST(ClientSpecGrammar, MarksAfterEscapedAndWideText) {
  EXPECT_EQ(ErrorOf("K:name=日,5\x1b,="),
            "--zero K:name=日,5\\x1b,=\n                       ^ a key is letters, digits and `_`; "
            "write layer=5");
}

TEST(ClientSpecGrammar, ReadsRanges) {
  const Spec spec{"--zero", "0:4:2", {}, {}};
  const auto range = RangeOf(spec, {"-4::2", 0});
  ASSERT_TRUE(range.ok());
  EXPECT_EQ(range->start, -4);
  EXPECT_EQ(range->end, std::nullopt);
  EXPECT_EQ(range->step, 2);
  EXPECT_FALSE(RangeOf(spec, {"1:2:3:4", 0}).ok());
  EXPECT_EQ(RangeOf(spec, {"0:x", 0}).status().message(),
            "--zero 0:4:2\n         ^ `x` is not an integer; write one such as 5");
}

TEST(ClientSpecGrammar, ExpandsRangesInLists) {
  const Spec spec{"--zero", "", {}, {}};
  const auto integers = IntegersOf(spec, {{"1", 0}, {"4:9:2", 0}, {":2", 0}});
  ASSERT_TRUE(integers.ok());
  EXPECT_EQ(*integers, (std::vector<int64_t>{1, 4, 6, 8, 0, 1}));
  for (const char* range : {"3:", "::2", "-2:5", "5:5", "0:5:0", "0:65537",
                            "0:9223372036854775807:4611686018427387904"}) {
    EXPECT_FALSE(IntegersOf(spec, {{range, 0}}).ok()) << range;
  }
}

TEST(ClientSpecGrammar, LimitsItsInput) {
  EXPECT_FALSE(ParseSpec("--zero", std::string(65537, 'a')).ok());
  EXPECT_TRUE(ParseSpec("--zero", std::string(65536, 'a')).ok());
  EXPECT_FALSE(ParseList("--tokens", std::string(65537, '1')).ok());
}

}  // namespace
}  // namespace scalpel::client
