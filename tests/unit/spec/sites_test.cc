#include "server/spec/sites.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace scalpel::spec {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::Site SiteOf(const std::string& path) {
  const auto resolved = ResolvePath(path);
  return resolved.ok() ? resolved->site->site : v1::SITE_UNSPECIFIED;
}

TEST(Sites, HaveFactsAndComeInOrder) {
  ASSERT_EQ(AllSites().size(), static_cast<size_t>(model::kSites));
  int place = 0;
  for (const SiteEntry& entry : AllSites()) {
    EXPECT_EQ(ToModel(entry.site), static_cast<model::Site>(place++)) << entry.name;
    EXPECT_EQ(ToProto(ToModel(entry.site)), entry.site);
    EXPECT_EQ(FindSite(entry.site), &entry);
    EXPECT_EQ("SITE_" + absl::AsciiStrToUpper(entry.name), v1::Site_Name(entry.site));
    EXPECT_GE(entry.facts.axes_size(), 2) << entry.name;
    EXPECT_FALSE(entry.facts.aliases().empty()) << entry.name;
    EXPECT_EQ(AxisIndex(entry.facts, v1::AXIS_UNIT).has_value(),
              entry.facts.unit_axis() != v1::UNIT_AXIS_UNSPECIFIED)
        << entry.name;
    EXPECT_NE(IsAttention(entry.facts), AxisIndex(entry.facts, v1::AXIS_POSITION).has_value())
        << entry.name;
  }
  EXPECT_EQ(FindSite(v1::SITE_UNSPECIFIED), nullptr);
  EXPECT_EQ(FindSite(static_cast<v1::Site>(99)), nullptr);
}

TEST(Sites, HaveTheModelsUnitSizes) {
  const model::Gpt2Config config{
      .n_head = 3, .d_model = 15, .d_head = 5, .d_mlp = 37, .vocab_size = 53};
  const std::map<v1::UnitAxis, int64_t> lengths = {
      {v1::UNIT_AXIS_UNSPECIFIED, 0}, {v1::UNIT_AXIS_D_MODEL, 15}, {v1::UNIT_AXIS_QKV, 45},
      {v1::UNIT_AXIS_D_HEAD, 5},      {v1::UNIT_AXIS_D_MLP, 37},   {v1::UNIT_AXIS_VOCAB, 53},
      {v1::UNIT_AXIS_ONE, 1}};
  for (const auto& [axis, length] : lengths) EXPECT_EQ(UnitSize(axis, config), length) << axis;
  EXPECT_EQ(lengths.size(), static_cast<size_t>(v1::UnitAxis_ARRAYSIZE));
}

TEST(ResolvePath, EveryNameMeansOneSite) {
  std::map<std::string, v1::Site> owners;
  for (const SiteEntry& entry : AllSites()) {
    std::set<std::string> names = {entry.name};
    for (const std::string& alias : entry.facts.aliases()) {
      EXPECT_TRUE(names.insert(alias).second) << alias << " stands twice at " << entry.name;
      names.emplace(absl::StripPrefix(alias, "transformer."));
    }
    for (const std::string& alias : entry.facts.observe_only_aliases())
      EXPECT_TRUE(names.insert(alias).second) << alias << " stands twice at " << entry.name;
    for (const std::string& name : names) {
      EXPECT_TRUE(owners.emplace(name, entry.site).second) << name << " names two sites";
    }
  }
}

TEST(ResolvePath, EveryNameMeansItsSiteWithAndWithoutALayer) {
  for (const SiteEntry& entry : AllSites()) {
    std::set<std::string> names(entry.facts.aliases().begin(), entry.facts.aliases().end());
    names.insert(entry.name);
    names.insert(absl::AsciiStrToUpper(entry.name));
    for (const std::string& name : names) {
      const auto plain = ResolvePath(name);
      ASSERT_TRUE(plain.ok()) << name;
      EXPECT_EQ(plain->site, FindSite(entry.site)) << name;
      EXPECT_FALSE(plain->layer.has_value()) << name;
      for (const std::string prefix : {"blocks.", "transformer.h.", "h."}) {
        const std::string path = absl::StrCat(prefix, 11, name.starts_with(":") ? "" : ".", name);
        const auto layered = ResolvePath(path);
        ASSERT_EQ(layered.ok(), entry.facts.per_layer()) << path;
        if (!layered.ok()) continue;
        EXPECT_EQ(layered->site, FindSite(entry.site)) << path;
        EXPECT_EQ(layered->layer, 11) << path;
      }
    }
  }
}

TEST(ResolvePath, AcceptsNamesOfTransformerLensAndHuggingFace) {
  EXPECT_EQ(SiteOf("blocks.3.attn.hook_k"), v1::SITE_K);
  EXPECT_EQ(SiteOf("blocks.3.hook_resid_post"), v1::SITE_RESID_POST);
  EXPECT_EQ(SiteOf("transformer.h.3.attn.c_attn:output"), v1::SITE_QKV);
  EXPECT_EQ(SiteOf("transformer.h.3.attn.c_attn"), v1::SITE_QKV);  // a module means its output
  EXPECT_EQ(SiteOf("transformer.h.3"), v1::SITE_RESID_POST);
  EXPECT_EQ(SiteOf("transformer.h.3:input"), v1::SITE_RESID_PRE);
  EXPECT_EQ(SiteOf("h.0.mlp"), v1::SITE_MLP_OUT);
  EXPECT_EQ(SiteOf("transformer.wte"), v1::SITE_EMBED);
  EXPECT_EQ(SiteOf("ln_f"), v1::SITE_LN_F_OUT);
  EXPECT_EQ(SiteOf("lm_head"), v1::SITE_LOGITS);
  EXPECT_EQ(SiteOf("Resid_Post"), v1::SITE_RESID_POST);
  EXPECT_EQ(SiteOf("transformer.h.3.ln_2:input"), v1::SITE_LN2_IN);
  EXPECT_EQ(SiteOf("blocks.3.hook_mlp_in"), v1::SITE_LN2_IN);
  EXPECT_EQ(SiteOf("model.transformer.h.3.mlp.act:output"), v1::SITE_MLP_POST);
  EXPECT_EQ(SiteOf("transformer.h.3.output"), v1::SITE_RESID_POST);
  EXPECT_EQ(SiteOf("transformer.h[3].attn.c_proj.input"), v1::SITE_Z);
  EXPECT_EQ(SiteOf("model.lm_head.output"), v1::SITE_LOGITS);
  EXPECT_EQ(SiteOf("lm_head:input"), v1::SITE_LN_F_OUT);
  EXPECT_TRUE(ResolvePath("lm_head:input")->observe_only);
  EXPECT_FALSE(ResolvePath("transformer.ln_f:output")->observe_only);
}

TEST(ResolvePath, SuggestsTheNearestName) {
  const auto said = [](const std::string& path) {
    return std::string(ResolvePath(path).status().message());
  };
  EXPECT_THAT(said("resid_pots"), HasSubstr("did you mean \"resid_post\"?"));
  EXPECT_THAT(said("blocks.3.attn.hook_ks"), HasSubstr("did you mean \"attn.hook_k\"?"));
  EXPECT_THAT(said("transformer.h.3.mlp.c_fx:output"),
              HasSubstr("did you mean \"mlp.c_fc:output\"?"));
  EXPECT_THAT(said("blocks.3.lm_head:output"), HasSubstr("logits is in no layer"));
  EXPECT_THAT(said("something else altogether"), Not(HasSubstr("did you mean")));
}

TEST(ResolvePath, RefusesOtherNamesAndSaysWhatIsAccepted) {
  for (const std::string path :
       {"", "nope", "hook_scale", "ln1.hook_normalized", "blocks.", "blocks.x.hook_k",
        "blocks.-1.hook_k", "blocks.3hook_k", "blocks.99999999999.hook_k", "blocks.3.",
        "blocks.3.embed", "transformer.h.3.transformer.wte:output", "blocks.0.lm_head", "hook_k ",
        "site_k", "blocks.1.blocks.1.hook_k"}) {
    const auto resolved = ResolvePath(path);
    EXPECT_EQ(resolved.status().code(), absl::StatusCode::kInvalidArgument) << path;
    EXPECT_THAT(std::string(resolved.status().message()),
                HasSubstr("transformer.h.3.attn.c_attn:output"));
  }
}

}  // namespace
}  // namespace scalpel::spec
