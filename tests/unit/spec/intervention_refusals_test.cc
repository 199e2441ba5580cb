// What Compile refuses of interventions.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/unit/spec/refusal.h"

namespace scalpel::spec {
namespace {

using test::RequestOf;
using test::TinyFacts;

std::string AtResid(const std::string& operation) {
  return "interventions { place { site: SITE_RESID_POST } " + operation + " }";
}

TEST(Refusals, Operations) {
  const std::string it = "interventions[0]";
  ExpectRefused({
      {AtResid(""), it, "has no operation; GetModel lists the operations"},
      {AtResid("scale {}"), it + ".scale.factor", "is required"},
      {AtResid("scale { factor: nan }"), it + ".scale.factor",
       "nan is not finite; set `allow_non_finite` if it is meant"},
      {AtResid("scale { factor: -1e39 }"), it + ".scale.factor",
       "-1e+39 is beyond float32's range; set `allow_non_finite` if it is meant"},
      {AtResid("scale { factor: 1e-40 }"), it + ".scale.factor",
       "1e-40 is below float32's normal range; set `allow_non_finite` if it is meant"},
      {AtResid("add {}"), it + ".add", "has no value; give `constant` or `tensor`"},
      {AtResid("add { constant: -inf }"), it + ".add.constant", "is not finite"},
      {AtResid("add { constant: 1 coefficient: nan }"), it + ".add.coefficient", "is not finite"},
      {AtResid("set {}"), it + ".set", "has no value"},
      {AtResid("noise { std: -1 }"), it + ".noise.std", "-1 is below 0"},
      {AtResid("noise { std: -1 }") + "allow_non_finite: true", it + ".noise.std", "-1 is below 0"},
      {AtResid("noise { std: nan }"), it + ".noise.std", "is not finite"},
      {AtResid("noise { mean: inf }"), it + ".noise.mean", "is not finite"},
      {AtResid("noise { mode: 7 }"), it + ".noise.mode", "7 is not a valid noise mode"},
      {AtResid("clamp {}"), it + ".clamp", "has no bound; give `min`, `max` or both"},
      {AtResid("clamp { min: 2 max: 1 }"), it + ".clamp.min", "2 is above max, 1"},
      {AtResid("clamp { max: nan }"), it + ".clamp.max", "is not finite"},
      {AtResid("clamp { min: inf }"), it + ".clamp.min", "is not finite"},
      {AtResid("mean { over {} }"), it + ".mean.over", "give `range`, `indices` or `tokens`"},
      {AtResid("mean { over { indices { values: 3 } } }"), it + ".mean.over.indices.values[0]",
       "outside [-3, 3)"},
      {AtResid("project_out {}"), it + ".project_out.direction", "is required"},
      {AtResid("project_out { direction { values: [0, 0] } }"), it + ".project_out.direction",
       "has no length; give a vector that is not zero"},
      {AtResid("project_out { direction { values: [1, inf] } }") + "allow_non_finite: true",
       it + ".project_out.direction", "is not finite, so it has no direction"},
      {AtResid("project_out { direction { values: [1, nan] } }") + "allow_non_finite: true",
       it + ".project_out.direction", "is not finite, so it has no direction"},
      {AtResid("project_out { direction { values: [1, 2] shape: [2, 1] } }"),
       it + ".project_out.direction.shape", "a direction is a vector"},
      {AtResid("project_out { direction { values: [1, 2] } }"), it + ".project_out.direction",
       "shape [2] is not as long as the last axis of the selected part [4, 12]"},
      {AtResid("project_out { direction { values: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] } factor: "
               "inf }"),
       it + ".project_out.factor", "is not finite"},
      {AtResid("name: \"" + std::string(129, 'x') + "\" zero {}"), it + ".name",
       "has 129 bytes, at most 128"},
      {AtResid("zero {} name: \"zero[1]\"") + AtResid("zero {}"), "interventions[1].name",
       "is taken; names are unique"},
  });
}

TEST(Refusals, TensorsOfOperations) {
  const auto tensor = [](const std::string& text) {
    return AtResid("add { tensor { " + text + " } }");
  };
  const std::string it = "interventions[0]";
  ExpectRefused({
      {AtResid("set { tensor {} }"), it + ".set.tensor", "give exactly one of `data` and `values`"},
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
      {tensor("data: \"abcd\" shape: 1 dtype: 9"), it + ".add.tensor.dtype",
       "9 is not a data type"},
      {tensor("values: inf"), it + ".add.tensor",
       "holds numbers that are not finite; set `allow_non_finite` if they are meant"},
      {tensor("values: [1, 1e-40]"), it + ".add.tensor",
       "holds numbers below float32's normal range; set `allow_non_finite` if they are meant"},
      {AtResid("project_out { direction { values: [1, nan] } }"), it + ".project_out.direction",
       "holds numbers that are not finite"},
      {tensor("values: [1, 2]"), it + ".add.tensor",
       "shape [2] does not broadcast to the selected part [4, 12]"},
      {tensor("values: [1, 1] shape: [2, 1, 1]"), it + ".add.tensor", "does not broadcast"},
  });
}

TEST(Refusals, OperationsAtUnsuitableSites) {
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

}  // namespace
}  // namespace scalpel::spec
