// A fixture whose model has a tokenizer of two letters: "a" is token 0, "b" is 1 and "ab" is 2.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_LETTERS_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_LETTERS_H_

#include "server/model/tokenizer.h"
#include "server/spec/plan.h"
#include "tests/unit/model/temp_folder.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::test {

class LettersTest : public model::TempFolderTest {
 protected:
  void SetUp() override {
    model::TempFolderTest::SetUp();
    Write(dir_ / "vocab.json", R"({"a": 0, "b": 1, "ab": 2})");
    Write(dir_ / "merges.txt", "#version: 0.2\na b\n");
    auto tokenizer = model::Tokenizer::Load(dir_);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    facts_.name = "tiny";
    facts_.config = TinyConfig();
    facts_.tokenizer = *std::move(tokenizer);
  }

  spec::ModelFacts facts_;
};

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_LETTERS_H_
