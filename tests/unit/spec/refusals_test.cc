// What Compile refuses of prompts, places, observations and outputs; limits; and many mistakes at
// once.

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
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Refusals, Prompts) {
  std::string long_prompt = "prompts { token_ids { ids: [0";
  for (int i = 0; i < 24; ++i) long_prompt += ", 0";
  ExpectRefused({
      {"prompts {}", "prompts[2]", "has no content; give `text` or `token_ids`"},
      {"prompts { token_ids {} }", "prompts[2]", "has no tokens; a prompt has at least one"},
      {"prompts { token_ids { ids: [0, 53] } }", "prompts[2].token_ids.ids[1]",
       "53 is outside [0, 53)"},
      {"prompts { token_ids { ids: -1 } }", "prompts[2].token_ids.ids[0]", "-1 is outside [0, 53)"},
      {long_prompt + "] } }", "prompts[2]", "has 25 tokens; the model takes at most 24"},
  });
  ExpectRefused(Compile(v1::RunRequest(), TinyFacts(), Limits()).status(),
                {"", "prompts", "is empty; give at least one prompt"},
                absl::StatusCode::kInvalidArgument);
}

TEST(Refusals, TextWithoutATokenizer) {
  ModelFacts facts{.name = "tiny",
                   .config = test::TinyConfig(),
                   .tokenizer = std::nullopt,
                   .weights_sha256 = "w"};
  const std::string text = "prompts { text: \"a\" }";
  ExpectRefused(Compile(RequestOf(text), facts, Limits()).status(),
                {text, "prompts[2].text", "the model's folder has no tokenizer; give `token_ids`"},
                absl::StatusCode::kFailedPrecondition);
  facts.tokenizer_problem = "vocab.json: not a JSON object";
  ExpectRefused(Compile(RequestOf(text), facts, Limits()).status(),
                {text, "prompts[2].text", "vocab.json: not a JSON object; give `token_ids`"},
                absl::StatusCode::kFailedPrecondition);
  // With other mistakes it is one of them.
  const absl::Status status = Compile(RequestOf(text + " prompts {}"), facts, Limits()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailOf<google::rpc::BadRequest>(status).field_violations_size(), 2);
}

// A place inside an intervention; the same code resolves those of probes and captures.
TEST(Refusals, Places) {
  const auto zero = [](const std::string& place) {
    return "interventions { place { " + place + " } zero {} }";
  };
  const std::string place = "interventions[0].place";
  ExpectRefused({
      {"interventions { zero {} }", place + ".site", "is required; give `site` or `path`"},
      {zero("site: 99"), place + ".site", "99 is not a site; GetModel lists them"},
      {zero("path: \"nope\""), place + ".path", "no site has this name"},
      {zero("path: \"lm_head:input\""), place + ".path",
       "what is read there is ln_f_out, but an edit of ln_f_out changes more than one there would"},
      {zero("path: \"hook_z\" site: SITE_Z"), place + ".path", "is given together with `site`"},
      {zero("path: \"blocks.0.hook_q\" where { layers: 0 }"), place + ".where.layers",
       "together with a layer in `path`"},
      {zero("path: \"blocks.3.hook_q\""), place + ".path", "layer 3 is outside [0, 3)"},
      {zero("site: SITE_EMBED where { layers: 0 }"), place + ".where.layers",
       "embed has no such axis; leave the field out"},
      {zero("site: SITE_MLP_OUT where { heads: 0 }"), place + ".where.heads",
       "mlp_out has no such axis"},
      {zero("site: SITE_PATTERN where { units {} }"), place + ".where.units",
       "pattern has no such axis"},
      {zero("site: SITE_Z where { key_positions {} }"), place + ".where.key_positions",
       "z has no such axis"},
      {zero("site: SITE_Z where { layers: 3 }"), place + ".where.layers[0]",
       "3 is outside [-3, 3)"},
      {zero("site: SITE_Z where { layers: [1, -2] }"), place + ".where.layers", "1 is named twice"},
      {zero("site: SITE_Z where { heads: [0, 3] }"), place + ".where.heads[1]",
       "3 is outside [-3, 3)"},
      {zero("site: SITE_Z where { prompts: 2 }"), place + ".where.prompts[0]",
       "2 is outside [-2, 2)"},
      {zero("site: SITE_Z where { units {} }"), place + ".where.units",
       "give `range` or `indices`"},
      {zero("site: SITE_Z where { units { indices { values: 4 } } }"),
       place + ".where.units.indices.values[0]", "4 is outside [-4, 4)"},
      {zero("site: SITE_Z where { positions {} }"), place + ".where.positions",
       "give `range`, `indices` or `tokens`"},
      {zero("site: SITE_Z where { positions { indices { values: 3 } } }"),
       place + ".where.positions.indices.values[0]",
       "3 is outside [-3, 3)"},  // of the second prompt
      {zero("site: SITE_Z where { positions { tokens { ids: 1 } } }"),
       place + ".where.positions.tokens", "holds none of these tokens"},
      {zero("site: SITE_PATTERN where { positions { indices { values: 0 } } key_positions { "
            "indices { values: 1 } } }"),
       place + ".where", "selects no (query, key) pair with key <= query at pattern"},
      {zero("site: SITE_PATTERN where { key_positions { range { start: 3 } } }"),
       place + ".where.key_positions.range.start", "3 is outside [-3, 3)"},
  });
}

TEST(Refusals, ProbesAndCaptures) {
  const auto probe = [](const std::string& site, const std::string& text) {
    return "probes { place { site: SITE_" + site + " } " + text + " }";
  };
  const std::string mean = " statistics: STATISTIC_MEAN ";
  ExpectRefused({
      {probe("Z", ""), "probes[0].statistics",
       "is empty; ask for a statistic, a quantile or a histogram"},
      {probe("Z", "statistics: STATISTIC_UNSPECIFIED"), "probes[0].statistics[0]",
       "0 is not a statistic"},
      {probe("Z", "statistics: 99"), "probes[0].statistics[0]", "99 is not a statistic"},
      {probe("Z", mean + mean), "probes[0].statistics[1]", "STATISTIC_MEAN is asked twice"},
      {probe("Z", "quantiles: 1.5"), "probes[0].quantiles[0]", "1.5 is outside [0, 1]"},
      {probe("Z", "quantiles: [0, nan]"), "probes[0].quantiles[1]", "is outside [0, 1]"},
      {probe("Z", "histogram { min: 0 max: 1 }"), "probes[0].histogram.bins",
       "0 is outside [1, 1024]"},
      {probe("Z", "histogram { bins: 1025 max: 1 }"), "probes[0].histogram.bins",
       "1025 is outside"},
      {probe("Z", "histogram { bins: 1 min: 1 max: 1 }"), "probes[0].histogram.max",
       "1 is not above min, 1"},
      {probe("Z", "histogram { bins: 1 min: -1e308 max: 1e308 }"), "probes[0].histogram.max",
       "is not above min"},
      {probe("Z", "histogram { bins: 1 max: nan }"), "probes[0].histogram.max", "is not above min"},
      {probe("Z", mean + "keep: AXIS_KEY"), "probes[0].keep[0]", "z has no such axis"},
      {probe("Z", mean + "keep: 9"), "probes[0].keep[0]", "z has no such axis"},
      {probe("Z", mean + "keep: [AXIS_HEAD, AXIS_HEAD]"), "probes[0].keep[1]", "is named twice"},
      {probe("ATTN_SCORES", mean + "keep: AXIS_QUERY"), "probes[0].keep[0]",
       "can only keep AXIS_HEAD"},
      {probe("Z", "statistics: STATISTIC_ENTROPY"), "probes[0].statistics[0]",
       "is available only at pattern"},
      {probe("PATTERN", "statistics: STATISTIC_ENTROPY keep: AXIS_KEY"), "probes[0].statistics[0]",
       "reduces the innermost axis"},
      {probe("Z", "statistics: STATISTIC_MEAN_L2_NORM keep: AXIS_UNIT"), "probes[0].statistics[0]",
       "innermost axis"},
      {probe("ATTN_SCORES", "statistics: STATISTIC_MEAN_L2_NORM"), "probes[0].statistics[0]",
       "is not available at attn_scores"},
      {probe("Z", mean + "moment: 9"), "probes[0].moment", "9 is not a moment"},
      {probe("Z", mean + "name: \"z[1]\"") + probe("Z", mean), "probes[1].name",
       "\"z[1]\" is taken"},
      {"probes {" + mean + "}", "probes[0].place.site", "is required"},
      {probe("Z", mean + "name: \"" + std::string(129, 'x') + "\""), "probes[0].name",
       "has 129 bytes"},
      {"captures {}", "captures[0].place.site", "is required"},
      {"captures { place { site: SITE_Z } moment: 9 }", "captures[0].moment", "9 is not a moment"},
      {"captures { place { site: SITE_Z } dtype: 9 }", "captures[0].dtype", "9 is not a data type"},
      {"captures { place { site: SITE_Z where { heads: 7 } } }", "captures[0].place.where.heads[0]",
       "7 is outside [-3, 3)"},
      {"captures { name: \"a\" place { site: SITE_Z } } captures { name: \"a\" place { site: "
       "SITE_Q } }",
       "captures[1].name", "\"a\" is taken"},
  });
}

TEST(Refusals, Outputs) {
  ExpectRefused({
      {"logits { top_k {} }", "logits.top_k.k", "0 is outside [1, 53]"},
      {"logits { top_k { k: 54 } }", "logits.top_k.k", "54 is outside [1, 53]"},
      {"logits { ids {} }", "logits.ids.ids", "has 0 ids; give 1 to 1000"},
      {"logits { ids { ids: [0, 53] } }", "logits.ids.ids[1]", "53 is outside [0, 53)"},
      {"logits { full { dtype: 9 } }", "logits.full.dtype", "9 is not a data type"},
      {"logits { positions { indices { values: 3 } } }", "logits.positions.indices.values[0]",
       "3 is outside [-3, 3)"},
      {"logits { positions {} }", "logits.positions", "give `range`, `indices` or `tokens`"},
      {"block_outputs { layers: 3 }", "block_outputs.layers[0]", "3 is outside [-3, 3)"},
      {"block_outputs { dtype: 9 }", "block_outputs.dtype", "9 is not a data type"},
  });
  const absl::Status other = Compile(RequestOf("model: \"gpt5\""), TinyFacts(), Limits()).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(other.message()), HasSubstr("model: this server has \"tiny\""));
}

TEST(Refusals, EveryLimit) {
  const std::string zero = "interventions { place { site: SITE_EMBED } zero {} } ";
  const std::string probe = "probes { place { site: SITE_EMBED } quantiles: [0, 0.5, 1] } ";
  const std::string capture = "captures { place { site: SITE_RESID_POST } } ";
  ExpectRefused({{"", "prompts", "has 2 entries, at most 1 are allowed; split the request"}},
                test::LimitsOf("max_prompts: 1"));
  ExpectRefused({{zero + zero, "interventions", "has 2 entries, at most 1"}},
                test::LimitsOf("max_interventions: 1"));
  ExpectRefused({{probe + probe, "probes", "has 2 entries, at most 1"}},
                test::LimitsOf("max_probes: 1"));
  ExpectRefused({{capture + capture, "captures", "has 2 entries, at most 1"}},
                test::LimitsOf("max_captures: 1"));
  ExpectRefused({{"", "prompts", "7 tokens in 2 rows (clean runs included), at most 6"}},
                test::LimitsOf("max_tokens: 6"));
  ExpectRefused({{"include_clean_run: true", "prompts", "14 tokens in 4 rows"}},
                test::LimitsOf("max_tokens: 13"));
  ExpectRefused({{probe, "probes[0].quantiles", "has 3 entries, at most 2"}},
                test::LimitsOf("max_quantiles: 2"));
  ExpectRefused({{"logits { top_k { k: 6 } }", "logits.top_k.k", "6 is outside [1, 5]"}},
                test::LimitsOf("max_top_k: 5"));
  ExpectRefused({{"logits { ids { ids: [1, 2, 3] } }", "logits.ids.ids", "has 3 ids; give 1 to 2"}},
                test::LimitsOf("max_top_k: 2"));
  // Two prompts at EMBED, then two at each of three layers.
  ExpectRefused({{zero + capture, "captures[0]", "unfolds into more than 7 places"}},
                test::LimitsOf("max_places: 7"));
  EXPECT_TRUE(
      Compile(RequestOf(zero + capture), TinyFacts(), test::LimitsOf("max_places: 8")).ok());
}

TEST(Refusals, ReportsAllViolationsUpToALimit) {
  const v1::RunRequest request = RequestOf(R"(
      prompts {}
      interventions { place { site: SITE_Z where { layers: 9 } } scale {} }
      probes { place { site: SITE_Z } } captures { place { path: "nope" } }
      logits { top_k { k: 99 } } block_outputs { layers: 9 })");
  const auto fields = [&](int violations_max) {
    const absl::Status status =
        Compile(request, TinyFacts(),
                test::LimitsOf(absl::StrCat("max_violations: ", violations_max)))
            .status();
    EXPECT_THAT(std::string(status.message()), HasSubstr("(and 6 more, see the details)"));
    std::vector<std::string> fields;
    const auto details = DetailOf<google::rpc::BadRequest>(status);
    for (const auto& violation : details.field_violations()) {
      fields.push_back(violation.field());
    }
    return fields;
  };
  EXPECT_THAT(fields(50),
              ElementsAre("prompts[2]", "interventions[0].scale.factor",
                          "interventions[0].place.where.layers[0]", "probes[0].statistics",
                          "captures[0].place.path", "logits.top_k.k", "block_outputs.layers[0]"));
  EXPECT_THAT(fields(2), ElementsAre("prompts[2]", "interventions[0].scale.factor"));
}

TEST(Refusals, ReportsEveryWrongSelectorOfAPlace) {
  const auto fields = [](const std::string& layers) {
    const absl::Status status =
        Compile(RequestOf(absl::StrCat(
                    "interventions { zero {} place { site: SITE_Z where { layers: ", layers,
                    " prompts: 0 heads: 9 units { indices { values: 9 } }"
                    " positions { indices { values: 9 } } } } }")),
                TinyFacts(), Limits())
            .status();
    std::vector<std::string> fields;
    const auto details = DetailOf<google::rpc::BadRequest>(status);
    for (const auto& violation : details.field_violations()) fields.push_back(violation.field());
    return fields;
  };
  const std::string where = "interventions[0].place.where.";
  const std::vector<std::string> axes = {where + "positions.indices.values[0]", where + "heads[0]",
                                         where + "units.indices.values[0]"};
  EXPECT_EQ(fields("0"), axes);
  std::vector<std::string> all = axes;
  all.insert(all.begin(), where + "layers[0]");
  EXPECT_EQ(fields("9"), all);
}

}  // namespace
}  // namespace scalpel::spec
