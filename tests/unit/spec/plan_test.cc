// What a request means, and what is refused, by field path.

#include "server/spec/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "proto/google/rpc/error_details.pb.h"
#include "server/spec/cost.h"
#include "tests/unit/model/temp_folder.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::spec {
namespace {

using model::kNoLayer;
using model::Site;
using test::CompileOrThrow;
using test::RequestOf;
using test::TinyFacts;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

template <typename Detail>
Detail DetailOf(const absl::Status& status) {
  Detail detail;
  const auto payload = status.GetPayload("type.googleapis.com/" + detail.GetTypeName());
  EXPECT_TRUE(payload && detail.ParseFromString(std::string(*payload))) << status;
  return detail;
}

// ---- what a request means -----------------------------------------------------------------------

TEST(Compile, FillsInEveryDefault) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      interventions { place { path: "blocks.1.attn.hook_k" where { heads: 2 } } noise {} }
      interventions { place { site: SITE_EMBED } add { constant: 2 } }
      interventions { place { path: "RESID_POST" }
          project_out { direction { values: [1,0,0,0,0,0,0,0,0,0,0,0] } } }
      probes { place { path: "transformer.h.2" } statistics: STATISTIC_MEAN }
      captures { place { site: SITE_LOGITS } }
          captures { name: "mine" place { site: SITE_Z } moment: MOMENT_BEFORE }
      output_attentions: true)"));
  const v1::RunRequest expected = test::FromText<v1::RunRequest>(R"(
      model: "tiny" seed: 0
      prompts { token_ids { ids: [1, 2, 3, 4] } } prompts { token_ids { ids: [5, 6, 7] } }
      interventions { name: "noise[0]" place { site: SITE_K
          where { layers: 1 heads: 2 prompts: [0, 1] } }
                      noise { mean: 0 std: 1 mode: NOISE_MODE_REPLACE seed: 0 } }
      interventions { name: "add[1]" place { site: SITE_EMBED where { prompts: [0, 1] } }
          add { constant: 2 coefficient: 1 } }
      interventions { name: "project_out[2]" place { site: SITE_RESID_POST
          where { layers: [0, 1, 2] prompts: [0, 1] } }
                      project_out { direction { values: [1,0,0,0,0,0,0,0,0,0,0,0] } factor: 0 } }
      probes { name: "resid_post[0]" place { site: SITE_RESID_POST
          where { layers: 2 prompts: [0, 1] } }
               statistics: STATISTIC_MEAN moment: MOMENT_AFTER }
      captures { name: "logits[0]" place { site: SITE_LOGITS where { prompts: [0, 1] } }
          moment: MOMENT_AFTER
                 dtype: DATA_TYPE_FLOAT32 }
      captures { name: "mine" place { site: SITE_Z
          where { layers: [0, 1, 2] prompts: [0, 1] } } moment: MOMENT_BEFORE
                 dtype: DATA_TYPE_FLOAT32 }
      logits { positions { indices { values: -1 } } top_k { k: 10 } }
      block_outputs { layers: [0, 1, 2] dtype: DATA_TYPE_FLOAT32 }
      output_attentions: true)");
  EXPECT_EQ(plan->request.DebugString(), expected.DebugString());
  EXPECT_EQ(plan->started.normalized().DebugString(), expected.DebugString());
}

// What is normal stays as it is, and means the same.
TEST(Compile, ANormalRequestIsItsOwnNormalForm) {
  const auto once = CompileOrThrow(RequestOf(
      R"(interventions { place { path: "blocks.0.hook_mlp_out" }
          mean { over { range { end: 2 } } } }
         probes { place { site: SITE_PATTERN } statistics: STATISTIC_ENTROPY
             quantiles: 0.5 } seed: 4)"));
  const auto twice = CompileOrThrow(once->request);
  EXPECT_EQ(twice->request.DebugString(), once->request.DebugString());
  EXPECT_EQ(twice->started.digest(), once->started.digest());
}

TEST(Compile, UnfoldsIntoWhatHappensAtEachSite) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      interventions { place { site: SITE_Z where { layers: [0, 2] heads: 1 prompts: 1 } } zero {} }
      interventions { place { site: SITE_Z where { layers: 2 } } scale { factor: 2 } }
      probes { place { site: SITE_Z where { layers: 2 } }
          statistics: STATISTIC_STD moment: MOMENT_BEFORE }
      captures { place { site: SITE_LN_F_OUT where { positions { indices { values: -1 } } } } }
      block_outputs { layers: [1] } logits { full {} positions { range { start: -2 } } })"));
  EXPECT_THAT(plan->sites, SizeIs(3));
  const SitePlan& last = plan->sites.at({2, Site::kZ});
  ASSERT_THAT(last.steps, SizeIs(3));
  EXPECT_EQ(last.steps[0].intervention, 0);
  EXPECT_EQ(last.steps[0].row, 1);
  EXPECT_THAT(last.steps[0].target->shape(), ElementsAre(3, 1, 4));
  EXPECT_EQ(last.steps[1].intervention, 1);
  EXPECT_THAT(last.steps[1].target->shape(), ElementsAre(4, 3, 4));
  EXPECT_EQ(last.steps[2].row, 1);
  EXPECT_THAT(last.probes_before, SizeIs(2));
  EXPECT_THAT(last.probes_after, IsEmpty());
  EXPECT_THAT(plan->sites.at({0, Site::kZ}).steps, SizeIs(1));
  const SitePlan& final = plan->sites.at({kNoLayer, Site::kLnFOut});
  EXPECT_EQ(final.captures_after[1].region->axis(0).at(0), 2);
  EXPECT_THAT(plan->block_outputs, ElementsAre(false, true, false));
  EXPECT_THAT(plan->logit_positions, ElementsAre(ElementsAre(2, 3), ElementsAre(1, 2)));
}

TEST(Compile, CleanRowsOnlyWhereSomethingNeedsThem) {
  EXPECT_THAT(CompileOrThrow(RequestOf(""))->rows, SizeIs(2));
  const auto patch =
      CompileOrThrow(RequestOf("interventions { place { site: SITE_Z where { positions { range { "
                               "end: 2 } } } } patch { clean_prompt: 1 } }"));
  ASSERT_THAT(patch->rows, SizeIs(3));
  EXPECT_EQ(patch->rows[2].prompt, 1);
  EXPECT_TRUE(patch->rows[2].clean);
  EXPECT_THAT(patch->tokens[2], ElementsAre(5, 6, 7));
  EXPECT_EQ(patch->sites.at({0, Site::kZ}).steps[0].source_row, 2);
  EXPECT_THAT(patch->groups, SizeIs(2));              // the reference is not sent back,
  EXPECT_THAT(patch->logit_positions[2], IsEmpty());  // nor are its logits
  const auto probe = CompileOrThrow(RequestOf(
      "probes { place { site: SITE_Z where { prompts: 0 } } statistics: STATISTIC_COSINE }"));
  ASSERT_THAT(probe->rows, SizeIs(3));
  EXPECT_EQ(probe->sites.at({1, Site::kZ}).probes_after[0].clean_row, 2);
  const auto all = CompileOrThrow(
      RequestOf("include_clean_run: true captures { place { site: SITE_Z where { layers: 0 } } }"));
  EXPECT_THAT(all->rows, SizeIs(4));
  EXPECT_THAT(all->groups, SizeIs(4));
  EXPECT_THAT(all->sites.at({0, Site::kZ}).captures_after, SizeIs(4));
  EXPECT_THAT(all->logit_positions,
              ElementsAre(ElementsAre(3), ElementsAre(2), ElementsAre(3), ElementsAre(2)));
  EXPECT_EQ(all->started.cost().rows(), 4);
  EXPECT_EQ(all->started.cost().tokens(), 14);
}

TEST(Compile, PatchesFromAnEarlierLayerKeepItsValue) {
  const auto plan = CompileOrThrow(RequestOf(
      R"(interventions { place { site: SITE_RESID_POST where { layers: [1, 2] prompts: 1 } }
                         patch { prompt: 0 layer: 0 positions { range { end: 3 } } } })"));
  EXPECT_THAT(plan->sites.at({0, Site::kResidPost}).kept_rows, ElementsAre(0));
  EXPECT_THAT(plan->sites.at({0, Site::kResidPost}).steps, IsEmpty());
  EXPECT_EQ(plan->sites.at({2, Site::kResidPost}).steps[0].source_layer, 0);
}

// A negative index belongs to the axis that it is applied to, and a token to the prompt that holds
// it.
TEST(Compile, PatchesReadWhatThePlaceSaysInTheSource) {
  const auto source_of = [](const std::string& where) {
    const auto plan = CompileOrThrow(
        RequestOf("interventions { place { site: SITE_EMBED where { prompts: 1 positions { " +
                  where + " } } } patch { prompt: 0 } }"));
    return plan->sites.at({kNoLayer, Site::kEmbed}).steps[0].source->axis(0).ToVector();
  };
  EXPECT_THAT(source_of("indices { values: [-1, 0] }"), ElementsAre(3, 0));  // of 4; 2 of 3 written
  EXPECT_THAT(source_of("range { start: -2 }"), ElementsAre(2, 3));
}

TEST(Compile, ListsKeepTheirOrder) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      interventions { place { site: SITE_Z where { prompts: [-1, 0] layers: [2, -3] heads: [2, 0]
          positions { indices { values: [-1, 0] } } units { indices { values: [3, 1] } } } }
        zero {} }
      logits { full {} positions { indices { values: [-1, 0, 1] } } })"));
  const auto& where = plan->request.interventions(0).place().where();
  EXPECT_THAT(where.layers(), ElementsAre(2, 0));
  EXPECT_THAT(where.prompts(), ElementsAre(1, 0));
  const Step& step = plan->sites.at({2, Site::kZ}).steps[0];
  EXPECT_EQ(step.row, 1);
  EXPECT_THAT(step.target->axis(0).ToVector(), ElementsAre(2, 0));
  EXPECT_THAT(step.target->axis(1).ToVector(), ElementsAre(2, 0));
  EXPECT_THAT(step.target->axis(2).ToVector(), ElementsAre(3, 1));
  EXPECT_THAT(plan->logit_positions[0], ElementsAre(3, 0, 1));
}

// The order of what is added up changes no bit of the sum.
TEST(Compile, StatisticsReadSetsButKeepAxesInTheirOrder) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      probes { place { site: SITE_Z where { prompts: 0 heads: [2, 0, 1]
          units { indices { values: [3, 0] } } } } statistics: STATISTIC_MEAN keep: AXIS_HEAD })"));
  const Region& region = *plan->sites.at({0, Site::kZ}).probes_after[0].region;
  EXPECT_THAT(region.axis(1).ToVector(), ElementsAre(2, 0, 1));
  EXPECT_THAT(region.axis(2).ToVector(), ElementsAre(0, 3));
}

TEST(Compile, AxesOfLengthOneInFrontOfAnOperandSayNothing) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      interventions { place { site: SITE_MLP_OUT } add {
          tensor { shape: [1, 1, 12] values: [0,1,2,3,4,5,6,7,8,9,10,11] } } }
      interventions { place { site: SITE_MLP_OUT } project_out {
          direction { shape: [1, 12] values: [0,1,2,3,4,5,6,7,8,9,10,11] } } })"));
  EXPECT_EQ(plan->operands[0].dim(), 2);
  EXPECT_EQ(plan->operands[1].dim(), 1);
}

TEST(Compile, KnockoutPairsBecomeTheirMesh) {
  const auto plan = CompileOrThrow(RequestOf(
      R"(interventions { place { site: SITE_ATTN_SCORES where { prompts: 0 layers: 0 } }
                         knockout { pairs { query: -1 key: 0 } pairs { query: 1 key: 1 }
                             pairs { query: 3 key: 0 } } })"));
  const Region& region = *plan->sites.at({0, Site::kAttnScores}).steps[0].target;
  EXPECT_THAT(region.axis(1).ToVector(), ElementsAre(1, 3));
  EXPECT_THAT(region.axis(2).ToVector(), ElementsAre(0, 1));
}

TEST(Compile, TensorsOfEveryTypeAreDecoded) {
  const auto operand = [](const std::string& tensor) {
    const auto plan = CompileOrThrow(
        RequestOf(absl::StrCat("allow_non_finite: true interventions { place { site: SITE_LN1_OUT "
                               "where { units { range { end: 2 } } } } add { tensor { ",
                               tensor, " } } }")));
    return plan->operands[0];
  };
  const at::Tensor expected = at::tensor({1.0f, -2.0f});
  EXPECT_TRUE(at::equal(operand("values: [1, -2]"), expected));
  EXPECT_TRUE(at::equal(operand("values: [1, -2] shape: [1, 2] dtype: DATA_TYPE_FLOAT32"),
                        expected.view({1, 2})));
  EXPECT_TRUE(at::equal(operand(R"(shape: 2 data: "\000\000\200\077\000\000\000\300")"), expected));
  EXPECT_TRUE(at::equal(operand(R"(dtype: DATA_TYPE_FLOAT16 shape: 2 data: "\000\074\000\300")"),
                        expected));
  EXPECT_TRUE(at::equal(operand(R"(dtype: DATA_TYPE_BFLOAT16 shape: 2 data: "\200\077\000\300")"),
                        expected));
  EXPECT_TRUE(operand("values: [nan, inf]").isnan()[0].item<bool>());
}

TEST(Compile, DigestTellsEveryRequestApart) {
  std::set<std::string> digests;
  for (const std::string text :
       {"", "seed: 1", "allow_non_finite: true", "output_attentions: true",
        "output_hidden_states: true", "include_clean_run: true", "logits { full {} }",
        "logits { none {} }", "prompts { token_ids { ids: 1 } }",
        "captures { place { site: SITE_Z } }", "captures { place { site: SITE_Q } }",
        "interventions { place { site: SITE_Z } zero {} }",
        "interventions { place { site: SITE_Z } set { constant: 0 } }"}) {
    const auto plan = CompileOrThrow(RequestOf(text));
    EXPECT_THAT(plan->started.digest(), SizeIs(64));
    EXPECT_TRUE(digests.insert(plan->started.digest()).second) << text;
    EXPECT_EQ(CompileOrThrow(RequestOf(text))->started.digest(), plan->started.digest());
    EXPECT_EQ(
        CompileOrThrow(RequestOf(absl::StrCat(text, " validate_only: true")))->started.digest(),
        plan->started.digest());
  }
  // Two ways to say the same thing.
  EXPECT_EQ(
      CompileOrThrow(RequestOf(R"(model: "tiny" captures { place { path: "hook_q" } })"))
          ->started.digest(),
      CompileOrThrow(RequestOf("captures { place { site: SITE_Q where { layers: [0, 1, 2] } } }"))
          ->started.digest());
  ModelFacts other = {.name = "tiny",
                      .config = test::TinyConfig(),
                      .tokenizer = std::nullopt,
                      .weights_sha256 = "x"};
  EXPECT_FALSE(digests.contains((*Compile(RequestOf(""), other, Limits()))->started.digest()));
}

// ---- what is refused ----------------------------------------------------------------------------

struct Refusal {
  std::string request;  // beside two prompts of 4 and 3 tokens
  std::string field;
  std::string words;
};

void ExpectRefused(const absl::Status& status, const Refusal& refusal, absl::StatusCode code) {
  EXPECT_EQ(status.code(), code) << refusal.request << "\n" << status;
  const auto details = DetailOf<google::rpc::BadRequest>(status);
  ASSERT_EQ(details.field_violations_size(), 1) << refusal.request << "\n" << details.DebugString();
  EXPECT_EQ(details.field_violations(0).field(), refusal.field) << refusal.request;
  EXPECT_THAT(details.field_violations(0).description(), HasSubstr(refusal.words))
      << refusal.request;
}

void ExpectRefused(const std::vector<Refusal>& refusals, const Limits& limits = {}) {
  for (const Refusal& refusal : refusals) {
    ExpectRefused(Compile(RequestOf(refusal.request), TinyFacts(), limits).status(), refusal,
                  absl::StatusCode::kInvalidArgument);
  }
}

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
      {zero("site: 99"), place + ".site", "99 is no site; GetModel lists them"},
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

TEST(Refusals, Operations) {
  const auto at_resid = [](const std::string& operation) {
    return "interventions { place { site: SITE_RESID_POST } " + operation + " }";
  };
  const auto tensor = [&](const std::string& text) {
    return at_resid("add { tensor { " + text + " } }");
  };
  const std::string it = "interventions[0]";
  ExpectRefused({
      {at_resid(""), it, "has no operation; GetModel lists the operations"},
      {at_resid("scale {}"), it + ".scale.factor", "is required"},
      {at_resid("scale { factor: nan }"), it + ".scale.factor",
       "nan is not finite; set `allow_non_finite` if it is meant"},
      {at_resid("scale { factor: -1e39 }"), it + ".scale.factor",
       "-1e+39 is beyond float32's range; set `allow_non_finite` if it is meant"},
      {at_resid("scale { factor: 1e-40 }"), it + ".scale.factor",
       "1e-40 is below float32's normal range; set `allow_non_finite` if it is meant"},
      {at_resid("add {}"), it + ".add", "has no value; give `constant` or `tensor`"},
      {at_resid("add { constant: -inf }"), it + ".add.constant", "is not finite"},
      {at_resid("add { constant: 1 coefficient: nan }"), it + ".add.coefficient", "is not finite"},
      {at_resid("set {}"), it + ".set", "has no value"},
      {at_resid("set { tensor {} }"), it + ".set.tensor",
       "give exactly one of `data` and `values`"},
      {at_resid("noise { std: -1 }"), it + ".noise.std", "-1 is below 0"},
      {at_resid("noise { std: -1 }") + "allow_non_finite: true", it + ".noise.std",
       "-1 is below 0"},
      {at_resid("noise { std: nan }"), it + ".noise.std", "is not finite"},
      {at_resid("noise { mean: inf }"), it + ".noise.mean", "is not finite"},
      {at_resid("noise { mode: 7 }"), it + ".noise.mode", "7 is no mode"},
      {at_resid("clamp {}"), it + ".clamp", "has no bound; give `min`, `max` or both"},
      {at_resid("clamp { min: 2 max: 1 }"), it + ".clamp.min", "2 is above max, 1"},
      {at_resid("clamp { max: nan }"), it + ".clamp.max", "is not finite"},
      {at_resid("clamp { min: inf }"), it + ".clamp.min", "is not finite"},
      {at_resid("mean { over {} }"), it + ".mean.over", "give `range`, `indices` or `tokens`"},
      {at_resid("mean { over { indices { values: 3 } } }"), it + ".mean.over.indices.values[0]",
       "outside [-3, 3)"},
      {at_resid("project_out {}"), it + ".project_out.direction", "is required"},
      {at_resid("project_out { direction { values: [0, 0] } }"), it + ".project_out.direction",
       "has no length"},
      {at_resid("project_out { direction { values: [1, 2] shape: [2, 1] } }"),
       it + ".project_out.direction.shape", "a direction is a vector"},
      {at_resid("project_out { direction { values: [1, 2] } }"), it + ".project_out.direction",
       "shape [2] is not as long as the last axis of the selected part [4, 12]"},
      {at_resid("project_out { direction { values: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] } factor: "
                "inf }"),
       it + ".project_out.factor", "is not finite"},
      {tensor("values: 1 data: \"abcd\""), it + ".add.tensor",
       "exactly one of `data` and `values`"},
      {tensor("values: [1, 2] shape: 3"), it + ".add.tensor",
       "shape [3] has 3 elements, but 2 are given"},
      {tensor("data: \"abcdefgh\" shape: 1"), it + ".add.tensor",
       "shape [1] has 1 elements, but 2 are given"},
      {tensor("data: \"abcdefgh\" shape: 2 dtype: DATA_TYPE_FLOAT16"), it + ".add.tensor",
       "shape [2] has 2 elements, but 4 are given"},
      {tensor("values: 1 shape: 0"), it + ".add.tensor.shape[0]", "0 is below 1"},
      {tensor("values: 1 shape: [1, -1]"), it + ".add.tensor.shape[1]", "-1 is below 1"},
      {tensor("values: 1 shape: [1, 1, 1, 1, 1]"), it + ".add.tensor.shape",
       "has 5 axes, at most 4"},
      {tensor("values: 1 shape: [4294967296, 4294967296]"), it + ".add.tensor.shape",
       "more elements than a request can hold"},
      {tensor("values: 1 dtype: DATA_TYPE_FLOAT16"), it + ".add.tensor.dtype",
       "`values` are float32"},
      {tensor("data: \"abcd\""), it + ".add.tensor.shape", "is required with `data`"},
      {tensor("data: \"abcde\" shape: 1"), it + ".add.tensor.data",
       "5 bytes are not a whole number of 4-byte elements"},
      {tensor("data: \"abcd\" shape: 1 dtype: 9"), it + ".add.tensor.dtype", "9 is no data type"},
      {tensor("values: inf"), it + ".add.tensor",
       "holds numbers that are not finite; set `allow_non_finite` if they are meant"},
      {tensor("values: [1, 1e-40]"), it + ".add.tensor",
       "holds numbers below float32's normal range; set `allow_non_finite` if they are meant"},
      {at_resid("project_out { direction { values: [1, nan] } }"), it + ".project_out.direction",
       "holds numbers that are not finite"},
      {tensor("values: [1, 2]"), it + ".add.tensor",
       "shape [2] does not broadcast to the selected part [4, 12]"},
      {tensor("values: [1, 1] shape: [2, 1, 1]"), it + ".add.tensor", "does not broadcast"},
      {at_resid("name: \"" + std::string(129, 'x') + "\" zero {}"), it + ".name",
       "has 129 bytes, at most 128"},
      {at_resid("zero {} name: \"zero[1]\"") + at_resid("zero {}"), "interventions[1].name",
       "is taken; names are unique"},
  });
}

TEST(Refusals, OperationsWhereTheyMakeNoSense) {
  const auto at_site = [](const std::string& site, const std::string& operation) {
    return "interventions { place { site: SITE_" + site + " } " + operation + " }";
  };
  const std::string site = "interventions[0].place.site";
  ExpectRefused({
      {at_site("HEAD_RESULT", "zero {}"), site,
       "zero at head_result: this site can only be observed"},
      {at_site("LN1_SCALE", "zero {}"), site, "can only be observed"},
      {at_site("LN2_SCALE", "zero {}"), site, "can only be observed"},
      {at_site("LN_F_SCALE", "zero {}"), site, "can only be observed"},
      {at_site("PATTERN", "knockout {}"), site, "a knockout is made at attn_scores"},
      {at_site("PATTERN", "project_out { direction { values: 1 } }"), site,
       "no unit axis for a direction"},
      {at_site("ATTN_SCORES", "mean {}"), site, "masked scores have no mean; use pattern"},
  });
}

TEST(Refusals, KnockoutsAndPatches) {
  const auto knockout = [](const std::string& where, const std::string& pair) {
    return "interventions { place { site: SITE_ATTN_SCORES where { " + where +
           " } } knockout { pairs { " + pair + " } } }";
  };
  const auto patch = [](const std::string& place, const std::string& text) {
    return "interventions { place { " + place + " } patch { " + text + " } }";
  };
  const std::string z0 = "site: SITE_Z where { prompts: 0 }",
                    z1 = "site: SITE_Z where { prompts: 1 }";
  const std::string it = "interventions[0].patch", pairs = "interventions[0].knockout.pairs";
  ExpectRefused({
      {knockout("", "query: 0 key: 1"), pairs + "[0]",
       "(0, 1) is not within 0 <= key <= query < 4"},
      {knockout("", "query: 3"), pairs + "[0]", "(3, 0) is not within 0 <= key <= query < 3"},
      {knockout("", "query: -5"), pairs + "[0]", "(-5, 0) is not within"},
      {knockout("", "query: 0 key: -9223372036854775808"), pairs + "[0]", "is not within"},
      {knockout("positions { range {} }", "query: 0"), pairs, "together with positions in `where`"},
      {knockout("key_positions { range {} }", "query: 0"), pairs,
       "together with positions in `where`"},
      {patch(z0, ""), it, "has no source; give `prompt` or `clean_prompt`"},
      {patch(z0, "prompt: 2"), it + ".prompt", "2 is outside [0, 2)"},
      {patch(z0, "clean_prompt: -1"), it + ".clean_prompt", "-1 is outside [0, 2)"},
      {patch(z0, "prompt: 1"), it + ".positions",
       "what the place selects, 4 positions, is 3 positions in the source, prompt 1 of 3 tokens; "
       "say here which of its positions are read"},
      {patch("site: SITE_Z where { prompts: 0 positions { indices { values: 3 } } }", "prompt: 1"),
       it + ".positions", "what the place selects, 1 positions, is nothing in the source"},
      {patch("site: SITE_Z where { prompts: 0 positions { tokens { ids: 1 } } }", "prompt: 1"),
       it + ".positions", "what the place selects, 1 positions, is nothing in the source"},
      {patch(z0, "prompt: 0"), it, "reads the values that it would write; select other prompts"},
      {patch("site: SITE_Z where { positions { indices { values: 0 } } }", "prompt: 0"), it,
       "reads the values that it would write"},
      {patch(z1, "prompt: 0 positions { range { end: 2 } }"), it + ".positions",
       "reads 2 positions, but 3 are written; name as many"},
      {patch(z1, "prompt: 0 positions {}"), it + ".positions",
       "give `range`, `indices` or `tokens`"},
      {patch(z1, "prompt: 0 key_positions { range {} }"), it + ".key_positions",
       "z has no such axis"},
      {patch("site: SITE_PATTERN where { prompts: 0 positions { range { end: 3 } } }", "prompt: 1"),
       it + ".key_positions", "what the place selects, 4 positions, is 3 positions in the source"},
      {patch(z1, "prompt: 0 positions { range { end: 3 } } heads: 3"), it + ".heads[0]",
       "3 is outside [-3, 3)"},
      {patch(z1, "prompt: 0 positions { range { end: 3 } } heads: 1"), it + ".heads",
       "reads 1 heads, but 3 are written; name as many"},
      {patch("site: SITE_MLP_OUT where { prompts: 1 }", "prompt: 0 heads: 1"), it + ".heads",
       "mlp_out has no such axis"},
      {patch("site: SITE_EMBED where { prompts: 1 }", "prompt: 0 layer: 0"), it + ".layer",
       "the site has no layers"},
      {patch("site: SITE_Z where { prompts: 1 layers: 1 }", "prompt: 0 layer: 2"), it + ".layer",
       "2 is outside [0, 1]: a patch reads the written layer or an earlier one"},
      {patch("site: SITE_Z where { prompts: 1 layers: 1 }", "prompt: 0 layer: -1"), it + ".layer",
       "-1 is outside [0, 1]"},  // the last of three
      {patch("site: SITE_Z where { prompts: 1 layers: 1 }", "prompt: 0 layer: -4"), it + ".layer",
       "-4 is outside [0, 1]"},
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
       "0 is no statistic"},
      {probe("Z", "statistics: 99"), "probes[0].statistics[0]", "99 is no statistic"},
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
       "ask for it at pattern"},
      {probe("PATTERN", "statistics: STATISTIC_ENTROPY keep: AXIS_KEY"), "probes[0].statistics[0]",
       "sums over AXIS_KEY"},
      {probe("Z", "statistics: STATISTIC_MEAN_L2_NORM keep: AXIS_UNIT"), "probes[0].statistics[0]",
       "innermost axis"},
      {probe("ATTN_SCORES", "statistics: STATISTIC_MEAN_L2_NORM"), "probes[0].statistics[0]",
       "not ask for it at attn_scores"},
      {probe("Z", mean + "moment: 9"), "probes[0].moment", "9 is no moment"},
      {probe("Z", mean + "name: \"z[1]\"") + probe("Z", mean), "probes[1].name",
       "\"z[1]\" is taken"},
      {"probes {" + mean + "}", "probes[0].place.site", "is required"},
      {probe("Z", mean + "name: \"" + std::string(129, 'x') + "\""), "probes[0].name",
       "has 129 bytes"},
      {"captures {}", "captures[0].place.site", "is required"},
      {"captures { place { site: SITE_Z } moment: 9 }", "captures[0].moment", "9 is no moment"},
      {"captures { place { site: SITE_Z } dtype: 9 }", "captures[0].dtype", "9 is no data type"},
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
      {"logits { full { dtype: 9 } }", "logits.full.dtype", "9 is no data type"},
      {"logits { positions { indices { values: 3 } } }", "logits.positions.indices.values[0]",
       "3 is outside [-3, 3)"},
      {"logits { positions {} }", "logits.positions", "give `range`, `indices` or `tokens`"},
      {"block_outputs { layers: 3 }", "block_outputs.layers[0]", "3 is outside [-3, 3)"},
      {"block_outputs { dtype: 9 }", "block_outputs.dtype", "9 is no data type"},
  });
  const absl::Status other = Compile(RequestOf("model: \"gpt5\""), TinyFacts(), Limits()).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(other.message()), HasSubstr("model: this server has \"tiny\""));
}

TEST(Refusals, WhatIsDefinedButNotImplemented) {
  const auto at_z = [](const std::string& operation) {
    return "interventions { place { site: SITE_Z } " + operation + " }";
  };
  for (const Refusal& refusal : std::vector<Refusal>{
           {at_z("freeze {}"), "interventions[0].freeze",
            "freeze is not implemented; GetModel lists the operations"},
           {at_z("subspace {}"), "interventions[0].subspace", "subspace is not implemented"},
           {at_z("permute {}"), "interventions[0].permute", "permute is not implemented"},
           {at_z("mean { reference_prompts {} }"), "interventions[0].mean.reference_prompts",
            "is not implemented; average over positions with `over`"}}) {
    ExpectRefused(Compile(RequestOf(refusal.request), TinyFacts(), Limits()).status(), refusal,
                  absl::StatusCode::kUnimplemented);
  }
  const std::string both = at_z("freeze {}") + "interventions { zero {} }";
  EXPECT_EQ(Compile(RequestOf(both), TinyFacts(), Limits()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Refusals, EveryLimit) {
  const std::string zero = "interventions { place { site: SITE_EMBED } zero {} } ";
  const std::string probe = "probes { place { site: SITE_EMBED } quantiles: [0, 0.5, 1] } ";
  const std::string capture = "captures { place { site: SITE_RESID_POST } } ";
  ExpectRefused({{"", "prompts", "has 2 entries, at most 1 are allowed; split the request"}},
                {.prompts_max = 1});
  ExpectRefused({{zero + zero, "interventions", "has 2 entries, at most 1"}},
                {.interventions_max = 1});
  ExpectRefused({{probe + probe, "probes", "has 2 entries, at most 1"}}, {.probes_max = 1});
  ExpectRefused({{capture + capture, "captures", "has 2 entries, at most 1"}}, {.captures_max = 1});
  ExpectRefused({{"", "prompts", "7 tokens in 2 rows (clean runs included), at most 6"}},
                {.tokens_max = 6});
  ExpectRefused({{"include_clean_run: true", "prompts", "14 tokens in 4 rows"}},
                {.tokens_max = 13});
  ExpectRefused({{probe, "probes[0].quantiles", "has 3 entries, at most 2"}}, {.quantiles_max = 2});
  ExpectRefused({{"logits { top_k { k: 6 } }", "logits.top_k.k", "6 is outside [1, 5]"}},
                {.top_k_max = 5});
  ExpectRefused({{"logits { ids { ids: [1, 2, 3] } }", "logits.ids.ids", "has 3 ids; give 1 to 2"}},
                {.top_k_max = 2});
  // Two prompts at EMBED, then two at each of three layers.
  ExpectRefused({{zero + capture, "captures[0]", "unfolds into more than 7 places"}},
                {.places_max = 7});
  EXPECT_TRUE(Compile(RequestOf(zero + capture), TinyFacts(), {.places_max = 8}).ok());
}

TEST(Refusals, AllAtOnceUpToTheListedMost) {
  const v1::RunRequest request = RequestOf(R"(
      prompts {}
      interventions { place { site: SITE_Z where { layers: 9 } } scale {} }
      probes { place { site: SITE_Z } } captures { place { path: "nope" } }
      logits { top_k { k: 99 } } block_outputs { layers: 9 })");
  const auto fields = [&](int violations_max) {
    const absl::Status status =
        Compile(request, TinyFacts(), {.violations_max = violations_max}).status();
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

TEST(Refusals, EveryWrongSelectorOfAPlace) {
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

TEST(Refusals, BeyondALimitOfCostIsAQuota) {
  const v1::RunRequest request = RequestOf("logits { full {} }");
  const int64_t bytes = CompileOrThrow(request)->started.cost().response_bytes();
  EXPECT_TRUE(Compile(request, TinyFacts(), {.response_bytes_max = bytes}).ok());
  const absl::Status response =
      Compile(request, TinyFacts(), {.response_bytes_max = bytes - 1}).status();
  EXPECT_EQ(response.code(), absl::StatusCode::kResourceExhausted);
  const auto quota = DetailOf<google::rpc::QuotaFailure>(response);
  EXPECT_EQ(quota.violations(0).subject(), "limits.max_response_bytes");
  EXPECT_THAT(quota.violations(0).description(),
              HasSubstr(absl::StrCat("estimated at ", bytes, " bytes")));
  const absl::Status memory = Compile(request, TinyFacts(), {.activation_bytes_max = 1}).status();
  EXPECT_EQ(DetailOf<google::rpc::QuotaFailure>(memory).violations(0).subject(),
            "activation memory");
}

// ---- cost ---------------------------------------------------------------------------------------

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

TEST(EstimateCost, MoreAskedIsMoreBytes) {
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

TEST(EstimateActivationBytes, GrowsWithWhatIsLookedAt) {
  const auto bytes = [](const std::string& text) {
    return EstimateActivationBytes(*CompileOrThrow(RequestOf(text)), test::TinyConfig());
  };
  for (const std::string site : {"LOGITS", "HEAD_RESULT"}) {
    EXPECT_GT(bytes("captures { place { site: SITE_" + site + " } }"),
              bytes("captures { place { site: SITE_Z } }"))
        << site;
  }
  EXPECT_GT(bytes("include_clean_run: true"), bytes(""));
  EXPECT_GT(
      bytes("interventions { place { site: SITE_Z where { prompts: 1 layers: 1 } } patch { prompt: "
            "0 layer: 0 "
            "positions { range { end: 3 } } } }"),
      bytes("interventions { place { site: SITE_Z where { prompts: 1 layers: 1 } } zero {} }"));
}

// ---- text ---------------------------------------------------------------------------------------

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
  EXPECT_THAT((*plan)->request.prompts(0).token_ids().ids(),
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

TEST_F(CompileText, RefusesWhatTheModelCannotTake) {
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
