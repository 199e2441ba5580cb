// What a plan is estimated to cost, and what is refused for it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/unit/spec/refusal.h"
#include "tests/unit/support/limits.h"

namespace scalpel::spec {
namespace {

using test::CompileOrThrow;
using test::RequestOf;
using test::TinyFacts;
using ::testing::HasSubstr;

TEST(Refusals, ExceedingALimitOfCostIsAQuotaFailure) {
  const v1::RunRequest request = RequestOf("logits { full {} }");
  const int64_t bytes = CompileOrThrow(request)->started.cost().response_bytes();
  EXPECT_TRUE(
      Compile(request, TinyFacts(), test::LimitsOf(absl::StrCat("max_response_bytes: ", bytes)))
          .ok());
  const absl::Status response =
      Compile(request, TinyFacts(), test::LimitsOf(absl::StrCat("max_response_bytes: ", bytes - 1)))
          .status();
  EXPECT_EQ(response.code(), absl::StatusCode::kResourceExhausted);
  const auto quota = DetailOf<google::rpc::QuotaFailure>(response);
  EXPECT_EQ(quota.violations(0).subject(), "limits.max_response_bytes");
  EXPECT_THAT(quota.violations(0).description(),
              HasSubstr(absl::StrCat("estimated at ", bytes, " bytes")));
  const absl::Status memory =
      Compile(request, TinyFacts(), test::LimitsOf("max_activation_bytes: 1")).status();
  EXPECT_EQ(DetailOf<google::rpc::QuotaFailure>(memory).violations(0).subject(),
            "limits.max_activation_bytes");
}

TEST(EstimateCost, CountsMultiplyAddsTwice) {
  const v1::Cost cost =
      CompileOrThrow(test::FromText<v1::RunRequest>("prompts { token_ids { ids: [1, 2] } }"))
          ->started.cost();
  // A layer: c_attn, c_proj and the MLP's two matrices for each token, scores and their mixing;
  // then one row of logits.
  const double layer = 2 * (2.0 * (12 * 36 + 12 * 12 + 2 * 12 * 37)) + 2 * (2.0 * 2 * 2 * 12);
  EXPECT_DOUBLE_EQ(cost.flops(), 3 * layer + 2.0 * 12 * 53);
  EXPECT_EQ(cost.rows(), 1);
  EXPECT_EQ(cost.tokens(), 2);
}

TEST(EstimateCost, GrowsInBytesWithWhatIsRequested) {
  const auto bytes = [](const std::string& text) {
    return CompileOrThrow(RequestOf(text))->started.cost().response_bytes();
  };
  const std::string capture = "captures { place { site: SITE_MLP_POST } ";
  EXPECT_LT(bytes(""), bytes(capture + "dtype: DATA_TYPE_FLOAT16 }"));
  EXPECT_EQ(bytes(capture + "}") - bytes(capture + "dtype: DATA_TYPE_FLOAT16 }"), 3 * 7 * 37 * 2);
  EXPECT_LT(bytes("logits { none {} }"), bytes(""));
  EXPECT_LT(bytes("output_hidden_states: true"),
            bytes("output_hidden_states: true include_clean_run: true"));
}

}  // namespace
}  // namespace scalpel::spec
