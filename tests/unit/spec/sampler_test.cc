// How a next token is chosen: what each processor excludes, on logits whose answer can be computed
// by hand. tests/parity compares random ones with HuggingFace's.

#include "server/spec/sampler.h"

#include <Random123/philox.h>
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "server/spec/philox.h"
#include "tests/unit/support/cpus.h"
#include "tests/unit/support/detail.h"

namespace scalpel::spec {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kMax = std::numeric_limits<float>::max();

v1::Sampling Parsed(const std::string& text) {
  v1::Sampling sampling;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &sampling)) << text;
  return sampling;
}

// As a checked request has it.
v1::Sampling Sampling(const std::string& text, int64_t vocab_size = 50257) {
  v1::Sampling sampling = Parsed(text);
  Violations violations(1);
  CheckSampling(sampling, vocab_size, "sampling", violations);
  EXPECT_TRUE(violations.empty()) << text << "\n" << violations.ToStatus();
  return sampling;
}

std::vector<float> ProcessedBy(const std::string& text, const std::vector<float>& logits,
                               const std::vector<int32_t>& sequence = {},
                               const std::vector<int32_t>& banned = {}) {
  return Processed(logits, Sampling(text), sequence, banned);
}

// The ids that are left.
std::vector<int32_t> Left(const std::string& text, const std::vector<float>& logits) {
  const std::vector<float> processed = ProcessedBy(text, logits);
  std::vector<int32_t> ids;
  for (size_t id = 0; id < processed.size(); ++id) {
    if (processed[id] != -kInfinity) ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

// Logits of these probabilities.
std::vector<float> LogitsOf(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

std::vector<float> RandomLogits(size_t vocab, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> logits(vocab);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

std::optional<int32_t> Greedy(const std::vector<float>& logits,
                              const std::vector<int32_t>& banned = {}) {
  const auto choice = Choose(logits, Sampling(""), {}, banned, {});
  if (!choice) return std::nullopt;
  return choice->id;
}

// ---- the request -------------------------------------------------------------------------------

TEST(CheckSampling, FillsInOnlyWhatIsAppliedAnyway) {
  EXPECT_EQ(Sampling("").ShortDebugString(), Parsed("repetition_penalty: 1").ShortDebugString());
  EXPECT_EQ(Sampling("sample: true").ShortDebugString(),
            Parsed("sample: true temperature: 1 repetition_penalty: 1").ShortDebugString());
  const std::string all =
      "sample: true temperature: 0.5 top_k: 50257 top_p: 1 min_p: 0 repetition_penalty: 2";
  EXPECT_EQ(Sampling(all).ShortDebugString(), Parsed(all).ShortDebugString());
  v1::Sampling again = Sampling("sample: true");
  Violations violations(1);
  CheckSampling(again, 10, "sampling", violations);
  EXPECT_TRUE(violations.empty());
}

TEST(CheckSampling, RefusesWhatCannotBeMeant) {
  struct Refusal {
    std::string sampling, field, words;
  };
  for (const Refusal& refusal : std::vector<Refusal>{
           {"temperature: 1", "temperature", "has no effect without `sample`; set `sample`"},
           {"top_k: 0", "top_k", "has no effect without `sample`"},
           {"top_p: 0.9", "top_p", "has no effect without `sample`"},
           {"min_p: 0.1", "min_p", "has no effect without `sample`"},
           {"sample: true temperature: 0", "temperature",
            "0 is not above 0; for the most likely token, leave `sample` and the temperature out"},
           {"sample: true temperature: -1", "temperature", "-1 is not above 0"},
           {"sample: true temperature: nan", "temperature", "nan is not above 0"},
           {"sample: true temperature: inf", "temperature", "inf is outside float32's normal"},
           {"sample: true temperature: 1e-39", "temperature", "1e-39 is outside float32's normal"},
           {"sample: true top_k: 0", "top_k", "0 is outside [1, 10]; leave it out"},
           {"sample: true top_k: 11", "top_k", "11 is outside [1, 10]"},
           {"sample: true top_p: 0", "top_p", "0 is outside (0, 1]; leave it out"},
           {"sample: true top_p: 1.5", "top_p", "1.5 is outside (0, 1]"},
           {"sample: true top_p: nan", "top_p", "nan is outside (0, 1]"},
           {"sample: true min_p: -0.5", "min_p", "-0.5 is outside [0, 1]; leave it out"},
           {"sample: true min_p: 1.5", "min_p", "1.5 is outside [0, 1]"},
           {"sample: true min_p: nan", "min_p", "nan is outside [0, 1]"},
           {"repetition_penalty: 0", "repetition_penalty", "0 is not above 0; 1 is no penalty"},
           {"repetition_penalty: 1e39", "repetition_penalty", "1e+39 is outside float32's normal"},
       }) {
    v1::Sampling sampling = Parsed(refusal.sampling);
    Violations violations(2);
    CheckSampling(sampling, 10, "a[1].sampling", violations);
    const auto details = test::DetailOf<google::rpc::BadRequest>(violations.ToStatus());
    ASSERT_EQ(details.field_violations_size(), 1) << refusal.sampling;
    EXPECT_EQ(details.field_violations(0).field(), "a[1].sampling." + refusal.field);
    EXPECT_THAT(details.field_violations(0).description(), HasSubstr(refusal.words));
  }
}

// ---- the processors ----------------------------------------------------------------------------

TEST(Processed, PenalizesEachTokenOnceHoweverOftenItOccurs) {
  EXPECT_THAT(ProcessedBy("repetition_penalty: 2", {3, -3, 0, 5, -kInfinity}, {1, 0, 2, 1, 0, 4}),
              ElementsAre(1.5f, -6, 0, 5, -kInfinity));
}

TEST(Processed, BansTokensWhateverTheirPenalty) {
  EXPECT_THAT(ProcessedBy("repetition_penalty: 2", {3, 2, 1}, {0, 1}, {1, 1}),
              ElementsAre(1.5f, -kInfinity, 1));
}

TEST(Processed, DividesByTheTemperatureInFloat32) {
  EXPECT_THAT(ProcessedBy("sample: true temperature: 0.7", {1, -2}),
              ElementsAre(1 / 0.7f, -2 / 0.7f));
}

TEST(Processed, TopKKeepsAllThatTieWithTheLast) {
  const std::vector<float> logits = {1, 3, 2, 3, 2, 0};
  EXPECT_THAT(Left("sample: true top_k: 1", logits), ElementsAre(1, 3));
  EXPECT_THAT(Left("sample: true top_k: 2", logits), ElementsAre(1, 3));
  EXPECT_THAT(Left("sample: true top_k: 3", logits), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(Left("sample: true top_k: 6", logits), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(Left("sample: true top_k: 2", {0.0f, -0.0f, -1}), ElementsAre(0, 1));
  EXPECT_THAT(Left("sample: true top_k: 1", {-0.0f, 0.0f, -1}), ElementsAre(0, 1));
}

TEST(Processed, TopKOfMoreThanArePossibleExcludesNone) {
  EXPECT_THAT(Left("sample: true top_k: 3", {-kInfinity, 1, -kInfinity, 2}), ElementsAre(1, 3));
  EXPECT_THAT(Left("sample: true top_k: 50257", {1, 2}), ElementsAre(0, 1));
}

// Sums of quarters and eighths are exact.
TEST(Processed, TopPExcludesWhileTheRisingSumIsAtMostItsComplement) {
  const std::vector<float> logits = LogitsOf({0.125, 0.5, 0.125, 0.25});
  EXPECT_THAT(Left("sample: true top_p: 0.9", logits), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Left("sample: true top_p: 0.8", logits), ElementsAre(1, 2, 3));
  EXPECT_THAT(Left("sample: true top_p: 0.7", logits), ElementsAre(1, 3));
  EXPECT_THAT(Left("sample: true top_p: 0.4", logits), ElementsAre(1));
  EXPECT_THAT(Left("sample: true top_p: 0.75", {2, 2, 2, 2, 2, 2, 2, 2}),
              ElementsAre(2, 3, 4, 5, 6, 7));
  EXPECT_THAT(Left("sample: true top_p: 0.7500002", {2, 2, 2, 2, 2, 2, 2, 2}),
              ElementsAre(1, 2, 3, 4, 5, 6, 7));
}

TEST(Processed, TopPKeepsTheLastOfTheMostLikely) {
  EXPECT_THAT(Left("sample: true top_p: 1e-300", {1, 4, 4, 2}), ElementsAre(2));
  EXPECT_THAT(Left("sample: true top_p: 1e-300", {-1, 0.0f, -0.0f}), ElementsAre(2));
}

TEST(Processed, TopPOfOneExcludesNone) {
  EXPECT_THAT(Left("sample: true top_p: 1", {0, -1000, -kInfinity}), ElementsAre(0, 1));
  EXPECT_THAT(Left("sample: true top_p: 0.9999", {0, -1000, -kInfinity}), ElementsAre(0));
}

TEST(Processed, MinPExcludesWhatIsBelowItsPartOfTheLargest) {
  const std::vector<float> logits = LogitsOf({0.05, 0.5, 0.1, 0.35});
  EXPECT_THAT(Left("sample: true min_p: 0", logits), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Left("sample: true min_p: 0.15", logits), ElementsAre(1, 2, 3));
  EXPECT_THAT(Left("sample: true min_p: 0.5", logits), ElementsAre(1, 3));
  EXPECT_THAT(Left("sample: true min_p: 1", {1, 4, 4, 2}), ElementsAre(1, 2));
}

// In another order each would leave other tokens.
TEST(Processed, KeepsTheOrderOfTransformers) {
  // The temperature evens out the probabilities, of which top-p then keeps more.
  EXPECT_THAT(Left("sample: true temperature: 4 top_p: 0.8", {0, 2, 4}), ElementsAre(1, 2));
  EXPECT_THAT(Left("sample: true top_p: 0.8", {0, 2, 4}), ElementsAre(2));
  // Of the three that top-k leaves, top-p can exclude one.
  const std::vector<float> logits = LogitsOf({0.3, 0.2, 0.2, 0.15, 0.15});
  EXPECT_THAT(Left("sample: true top_p: 0.6 top_k: 3", logits), ElementsAre(0, 2));
  EXPECT_THAT(Left("sample: true top_p: 0.6", logits), ElementsAre(0, 1, 2));
  // Had min-p excluded the last already, top-p would exclude the second.
  EXPECT_THAT(Left("sample: true min_p: 0.5 top_p: 0.6", LogitsOf({0.5, 0.3, 0.2})),
              ElementsAre(0, 1));
}

// ---- the choice --------------------------------------------------------------------------------

TEST(Choose, TakesTheFirstOfTheMostLikely) {
  EXPECT_EQ(Greedy({1, 3, 2, 3}), 1);
  EXPECT_EQ(Greedy({-0.0f, 0.0f}), 0);
  EXPECT_EQ(Greedy({1, 3, 2, 3}, {1}), 3);
  EXPECT_EQ(Choose(std::vector<float>{1, 3, 2}, Sampling("repetition_penalty: 2"),
                   std::vector<int32_t>{1, 1}, {}, {})
                ->id,
            2);
}

TEST(Choose, GivesTheProbabilityUnderTheLogitsAndUnderWhatWasDrawnFrom) {
  const std::vector<float> logits = LogitsOf({0.5, 0.375, 0.125});
  const auto greedy = Choose(logits, Sampling(""), {}, {}, {});
  EXPECT_FLOAT_EQ(greedy->log_prob, std::log(0.5f));
  EXPECT_EQ(greedy->sampling_log_prob, 0);
  // The last excluded, by each processor that can.
  for (const std::string last : {"top_k: 2", "top_p: 0.8", "min_p: 0.5"}) {
    std::set<int32_t> drawn;
    for (int32_t step = 0; step < 50; ++step) {
      const auto choice =
          Choose(logits, Sampling("sample: true " + last), {}, {}, {.seed = 1, .step = step});
      EXPECT_FLOAT_EQ(choice->log_prob, logits[choice->id]) << last;
      EXPECT_FLOAT_EQ(choice->sampling_log_prob, std::log(choice->id == 0 ? 4.0f / 7 : 3.0f / 7))
          << last;
      drawn.insert(choice->id);
    }
    EXPECT_THAT(drawn, ElementsAre(0, 1)) << last;
  }
  const auto certain =
      Choose(logits, Sampling("sample: true top_k: 1 temperature: 0.25"), {}, {}, {});
  EXPECT_FLOAT_EQ(certain->log_prob, std::log(0.5f));
  EXPECT_EQ(certain->sampling_log_prob, 0);
}

TEST(Choose, HasNoTokenWhereALogitIsNotANumberOrNoneIsLeft) {
  for (const std::string sampling : {"", "sample: true", "sample: true top_k: 1 top_p: 0.5"}) {
    for (const std::vector<float>& logits : std::vector<std::vector<float>>{
             {1, kNan}, {-kNan, 1}, {1, kInfinity}, {-kInfinity, -kInfinity}})
      EXPECT_FALSE(Choose(logits, Sampling(sampling), {}, {}, {})) << sampling;
    const std::vector<float> logits = {1, 2, -kInfinity};
    EXPECT_TRUE(Choose(logits, Sampling(sampling), {}, std::vector<int32_t>{0}, {})) << sampling;
    EXPECT_FALSE(Choose(logits, Sampling(sampling), {}, std::vector<int32_t>{0, 1}, {}));
    // A token that may not be chosen makes the others' probabilities meaningless all the same.
    for (const float banned : {kNan, kInfinity})
      EXPECT_FALSE(Choose(std::vector<float>{banned, 1}, Sampling(sampling), {},
                          std::vector<int32_t>{0}, {}));
    // A logit that a processor makes infinite.
    EXPECT_FALSE(Choose(std::vector<float>{kMax, 1},
                        Sampling(sampling + " repetition_penalty: 0.5"), std::vector<int32_t>{0},
                        {}, {}));
  }
  EXPECT_FALSE(Choose(std::vector<float>{1e10f, 1}, Sampling("sample: true temperature: 1e-30"), {},
                      {}, {}));
}

// By Random123 itself, and the contract's formula in a wider type.
int32_t DrawnBy(const std::vector<float>& logits, const Draw& draw) {
  const auto words = r123::Philox4x32()(
      {{static_cast<uint32_t>(draw.step), static_cast<uint32_t>(draw.continuation),
        static_cast<uint32_t>(draw.prompt), 0x53414d50}},
      {{static_cast<uint32_t>(draw.seed), static_cast<uint32_t>(draw.seed >> 32)}});
  const long double u = (words[0] * 0x1p21L + (words[1] >> 11) + 0.5L) / 0x1p53L;
  long double total = 0, sum = 0;
  for (const float logit : logits) total += std::exp(static_cast<long double>(logit));
  int32_t id = -1;
  while (sum <= u * total) sum += std::exp(static_cast<long double>(logits[++id]));
  return id;
}

TEST(Choose, DrawsByTheCountersOfTheContract) {
  const std::vector<float> logits = RandomLogits(300, 1);
  std::set<int32_t> drawn;
  for (int32_t i = 0; i < 400; ++i) {
    const Draw draw = {.seed = 0x123456789abcdef0u + i / 100 * 0x100000001u,
                       .prompt = i / 20 % 5,
                       .continuation = i / 5 % 4,
                       .step = i % 5};
    const auto choice = Choose(logits, Sampling("sample: true"), {}, {}, draw);
    EXPECT_EQ(choice->id, DrawnBy(logits, draw)) << i;
    drawn.insert(choice->id);
  }
  EXPECT_GT(drawn.size(), 20u);
}

TEST(Choose, NeverDrawsWhatHasNoProbability) {
  const std::vector<float> logits = {-kInfinity, -2000, 0, -2000, 0, -2000, -kInfinity};
  for (int32_t step = 0; step < 200; ++step) {
    const auto choice = Choose(logits, Sampling("sample: true"), {}, {}, {.step = step});
    EXPECT_TRUE(choice->id == 2 || choice->id == 4) << choice->id;
  }
}

TEST(Choose, IsTheSameOnEveryCpu) {
  const std::vector<float> logits = RandomLogits(5003, 2);
  for (const std::string sampling : {"", "sample: true", "sample: true top_k: 50 temperature: 1.5",
                                     "sample: true top_p: 0.9", "sample: true min_p: 0.01"}) {
    const Draw draw = {.seed = 5, .step = 3};
    const auto expected = Choose(logits, Sampling(sampling), {}, {}, draw);
    const auto processed = ProcessedBy(sampling, logits);
    test::OnEveryCpu([&] {
      const auto choice = Choose(logits, Sampling(sampling), {}, {}, draw);
      EXPECT_EQ(choice->id, expected->id) << sampling;
      EXPECT_EQ(choice->log_prob, expected->log_prob) << sampling;
      EXPECT_EQ(choice->sampling_log_prob, expected->sampling_log_prob) << sampling;
      EXPECT_EQ(ProcessedBy(sampling, logits), processed) << sampling;
    });
  }
}

TEST(Uniform, IsWithinTheInterval) {
  EXPECT_EQ(UniformOf(0, 0), 0x1p-54);
  EXPECT_EQ(UniformOf(0, 1u << 11), 3 * 0x1p-54);
  EXPECT_EQ(UniformOf(1u << 31, 0x7ff), 0.5);
  EXPECT_LT(UniformOf(0xffffffff, 0xffffffff), 1);
}

}  // namespace
}  // namespace scalpel::spec
