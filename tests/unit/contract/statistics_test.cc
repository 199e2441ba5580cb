#include "server/contract/statistics.h"

#include <gtest/gtest.h>

#include "server/contract/check.h"
#include "tests/unit/contract/declared.h"

namespace scalpel::contract {
namespace {

TEST(Statistics, SayWhatTheyNeed) {
  EXPECT_EQ(FactsOf(v1::STATISTIC_COSINE).input(), v1::STATISTIC_INPUT_VALUES_AND_CLEAN);
  EXPECT_EQ(FactsOf(v1::STATISTIC_STD).input(), v1::STATISTIC_INPUT_VALUES);
  EXPECT_EQ(FactsOf(v1::STATISTIC_ENTROPY).only_at(), v1::SITE_PATTERN);
  EXPECT_TRUE(FactsOf(v1::STATISTIC_MEAN_L2_NORM).of_vectors());
}

TEST(Statistics, WhatIsNoneNeedsNothing) {
  for (const int number : {-1, 0, v1::Statistic_MAX + 1, 1 << 30}) {
    const auto statistic = static_cast<v1::Statistic>(number);
    EXPECT_EQ(FactsOf(statistic).input(), v1::STATISTIC_INPUT_UNSPECIFIED);
  }
}

TEST(Statistics, OneWithoutFactsIsNamed) {
  const Declared declared(v1::Statistic_descriptor()->file(), [](auto* file) {
    file->mutable_enum_type(0)->mutable_value(2)->clear_options();
  });
  const absl::Status status = ReadStatistics(*declared->enum_type(0)).status();
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_EQ(status.message(),
            "scalpel.v1.STATISTIC_STD does not say what it is computed of; give it the option "
            "(scalpel.v1.statistic) with an input");
}

TEST(Statistics, NumbersAreWithoutGaps) {
  const Declared declared(v1::Statistic_descriptor()->file(), [](auto* file) {
    file->mutable_enum_type(0)->mutable_value(2)->set_number(99);
  });
  EXPECT_EQ(ReadStatistics(*declared->enum_type(0)).status().message(),
            "scalpel.v1.Statistic has no value 2");
}

TEST(Check, TheDeclarationIsComplete) { EXPECT_TRUE(Check().ok()) << Check(); }

}  // namespace
}  // namespace scalpel::contract
