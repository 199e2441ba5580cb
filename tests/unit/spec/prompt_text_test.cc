// Prompts as text: their tokens, and what of text is refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/unit/model/temp_folder.h"
#include "tests/unit/spec/refusal.h"

namespace scalpel::spec {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class CompileText : public model::TempFolderTest {
 protected:
  // Every byte is a token: byte b has id b.
  ModelFacts ByteFacts(int64_t vocab_size) {
    nlohmann::json vocabulary = nlohmann::json::object();
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool itself = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
      const uint32_t code = itself ? byte : next++;
      const std::string utf8 = code < 0x80 ? std::string(1, static_cast<char>(code))
                                           : std::string{static_cast<char>(0xC0 | code >> 6),
                                                         static_cast<char>(0x80 | (code & 63))};
      vocabulary[utf8] = byte;
    }
    Write(dir_ / "vocab.json", vocabulary.dump());
    Write(dir_ / "merges.txt", "#version: 0.2\n");
    auto tokenizer = model::Tokenizer::Load(dir_);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    ModelFacts facts{.name = "tiny",
                     .config = test::TinyConfig(),
                     .tokenizer = *std::move(tokenizer),
                     .weights_sha256 = ""};
    facts.config.vocab_size = vocab_size;
    return facts;
  }
};

TEST_F(CompileText, BecomesTokenIds) {
  const ModelFacts facts = ByteFacts(256);
  const auto plan = Compile(test::FromText<v1::RunRequest>("prompts { text: \"Hi \\303\\251\" }"),
                            facts, Limits());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT((*plan)->started.normalized().prompts(0).token_ids().ids(),
              ElementsAre('H', 'i', ' ', 0xC3, 0xA9));
  EXPECT_THAT((*plan)->started.prompts(0).ids(), SizeIs(5));
  EXPECT_THAT((*plan)->started.prompts(0).tokens(), ElementsAre("H", "i", " ", "\uFFFD", "\uFFFD"));
  EXPECT_EQ((*plan)->tokenizer, &*facts.tokenizer);
  // The text and its tokens are one request.
  const auto ids = Compile(
      test::FromText<v1::RunRequest>("prompts { token_ids { ids: [72, 105, 32, 195, 169] } }"),
      facts, Limits());
  EXPECT_EQ((*plan)->started.digest(), (*ids)->started.digest());
}

TEST_F(CompileText, RefusesEmptyTextsUnknownAndTooManyTokens) {
  const ModelFacts facts = ByteFacts(100);
  const auto refused = [&](const std::string& text, const std::string& words) {
    ExpectRefused(Compile(test::FromText<v1::RunRequest>("prompts { text: \"" + text + "\" }"),
                          facts, Limits())
                      .status(),
                  {text, text.empty() ? "prompts[0]" : "prompts[0].text", words},
                  absl::StatusCode::kInvalidArgument);
  };
  refused("", "has no tokens");
  refused("x", "holds token 120, which the model's vocabulary of 100 lacks");
  refused(std::string(25, 'A'), "24");
}

}  // namespace
}  // namespace scalpel::spec
