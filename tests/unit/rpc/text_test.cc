#include "server/rpc/text.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/unit/support/letters.h"

namespace scalpel::rpc {
namespace {

class Text : public test::LettersTest {
 protected:
  // The status of a Tokenize that is refused, as `field: text`.
  std::string Refused(const std::string& text) {
    v1::TokenizeRequest request;
    request.set_text(text);
    const auto response = Tokenize(request, facts_, limits_);
    EXPECT_TRUE(absl::IsInvalidArgument(response.status())) << response.status();
    return std::string(response.status().message());
  }

  // As above, for a Detokenize.
  std::string Refused(const std::vector<int32_t>& ids) {
    v1::DetokenizeRequest request;
    request.mutable_ids()->Assign(ids.begin(), ids.end());
    const auto response = Detokenize(request, facts_, limits_);
    EXPECT_TRUE(absl::IsInvalidArgument(response.status())) << response.status();
    return std::string(response.status().message());
  }

  Limits limits_;
};

TEST_F(Text, BecomesTokensAndComesBack) {
  v1::TokenizeRequest text;
  text.set_text("abb");
  const auto tokens = Tokenize(text, facts_, limits_);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->ShortDebugString(), R"(ids: 2 ids: 1 tokens: "ab" tokens: "b")");
  v1::DetokenizeRequest ids;
  *ids.mutable_ids() = tokens->ids();
  EXPECT_EQ(Detokenize(ids, facts_, limits_)->ShortDebugString(), R"(text: "abb" raw: "abb")");
}

TEST_F(Text, IsRefusedBeyondItsLimit) {
  limits_->set_max_text_bytes(3);
  EXPECT_EQ(Refused("abab"), "text: 4 bytes, at most 3 are allowed; split it");
  EXPECT_EQ(Refused(std::vector<int32_t>{2, 2}), "ids: more than 3 bytes of text; split the list");
}

TEST_F(Text, IsRefusedWhereTheTokenizerLacksIt) {
  EXPECT_EQ(Refused("ac"), "text: the vocabulary has no token for the byte 99; give token ids");
  EXPECT_EQ(Refused(std::vector<int32_t>{0, 4}),
            "ids[1]: 4 is in the model's vocabulary, but no token of the tokenizer has it");
}

TEST_F(Text, IdsOutsideTheVocabularyAreAllTold) {
  EXPECT_EQ(Refused(std::vector<int32_t>{-1, 0}), "ids[0]: -1 is outside [0, 53)");
  EXPECT_EQ(Refused(std::vector<int32_t>{0, 53, INT32_MAX, INT32_MIN}),
            "ids[1]: 53 is outside [0, 53) (and 2 more, see the details)");
}

}  // namespace
}  // namespace scalpel::rpc
