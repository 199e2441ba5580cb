// Compilations end when their caller does not wait any more.

#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/spec/plan.h"
#include "server/spec/sweep.h"
#include "tests/unit/support/limits.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_sweep.h"

namespace scalpel::spec {
namespace {

// A caller that leaves when it has been asked for so many times.
class Caller {
 public:
  explicit Caller(int patience) : left_(patience) {}
  absl::Status operator()() {
    ++asked_;
    return left_-- > 0 ? absl::OkStatus() : absl::CancelledError("the caller left");
  }
  int asked() const { return asked_; }

 private:
  int left_, asked_ = 0;
};

std::string Repeated(int times, const std::string& text) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

absl::Status CompileFor(Caller& caller, const std::string& text) {
  return Compile(test::RequestOf(text), test::TinyFacts(), Limits(), [&caller] { return caller(); })
      .status();
}

TEST(Wanted, ARunsCompilationEndsAtAnyOfItsParts) {
  const std::string parts[] = {
      "interventions { place { site: SITE_Z } zero {} } ",
      "probes { place { site: SITE_Z } statistics: STATISTIC_MEAN } ",
      "captures { place { site: SITE_Z } } ",
  };
  for (const std::string& part : parts) {
    Caller patient(1000), leaves(7);
    EXPECT_TRUE(CompileFor(patient, Repeated(100, part)).ok());
    EXPECT_GE(patient.asked(), 100);
    EXPECT_TRUE(absl::IsCancelled(CompileFor(leaves, Repeated(100, part))));
    EXPECT_LE(leaves.asked(), 7 + 4);  // once at the beginning of each part, and at the end
  }
}

TEST(Wanted, MattersMoreThanWhatIsWrong) {
  Caller leaves(0);
  EXPECT_TRUE(absl::IsCancelled(CompileFor(leaves, "interventions { zero {} }")));
}

TEST(Wanted, ASweepsCompilationEndsBetweenItsVariants) {
  const v1::SweepRequest sweep = test::SweepOf(R"(
      grid { interventions { place { site: SITE_Z } zero {} } axes { layers {} } axes { heads {} } }
      metrics { kl_from_clean {} })");
  Caller patient(1000);
  EXPECT_TRUE(CompileSweep(sweep, test::TinyFacts(), Limits(), [&] { return patient(); }).ok());
  Caller leaves(patient.asked() / 2);
  const auto left = CompileSweep(sweep, test::TinyFacts(), Limits(), [&] { return leaves(); });
  EXPECT_TRUE(absl::IsCancelled(left.status()));
  EXPECT_LE(leaves.asked(), patient.asked() / 2 + 4);
}

}  // namespace
}  // namespace scalpel::spec
