// The answer says where its first infinity or NaN came from.

#include "server/engine/non_finite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "server/spec/sites.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_sweep.h"

namespace scalpel::engine {
namespace {

std::optional<v1::FirstNonFinite> FirstOf(const std::string& request) {
  for (const Event& event : test::Ask(request + " allow_non_finite: true").events) {
    if (event.message.has_finished() && event.message.finished().has_first_non_finite())
      return event.message.finished().first_non_finite();
  }
  return std::nullopt;
}

// `set { constant: VALUE }` in the second prompt, at its last position, in layer 1.
std::string SetAt(const spec::SiteEntry& site, const std::string& value) {
  return absl::StrCat("interventions { place { site: ", v1::Site_Name(site.site),
                      " where { prompts: 1 positions { indices { values: -1 } } ",
                      site.facts.per_layer() ? "layers: 1 " : "", "} } set { constant: ", value,
                      " } }");
}

TEST(FirstNonFinite, IsTheSiteOfTheIntervention) {
  int sites = 0;
  for (const spec::SiteEntry& site : spec::AllSites()) {
    if (!site.facts.editable()) continue;
    ++sites;
    for (const std::string value : {"inf", "nan"}) {
      const auto first = FirstOf(SetAt(site, value));
      ASSERT_TRUE(first.has_value()) << site.name;
      // QKV is told by its parts.
      EXPECT_EQ(first->site(), site.site == v1::SITE_QKV ? v1::SITE_Q : site.site) << site.name;
      EXPECT_EQ(first->has_layer(), site.facts.per_layer()) << site.name;
      EXPECT_EQ(first->layer(), site.facts.per_layer() ? 1 : 0) << site.name;
      EXPECT_EQ(first->prompt(), 1) << site.name;
      EXPECT_EQ(first->position(), 2) << site.name;
      EXPECT_EQ(first->has_head(), site.facts.axes_size() == 3 || site.site == v1::SITE_QKV);
      EXPECT_TRUE(first->by_intervention()) << site.name;
      EXPECT_FALSE(first->clean());
    }
  }
  EXPECT_EQ(sites, 23);
}

TEST(FirstNonFinite, IsTheSiteWhereTheModelOverflows) {
  // Each of the two is finite, and so is the LayerNorm between them, but not their sum.
  const auto first = FirstOf(SetAt(*spec::FindSite(v1::SITE_ATTN_OUT), "3e38") +
                             SetAt(*spec::FindSite(v1::SITE_MLP_OUT), "3e38"));
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->site(), v1::SITE_RESID_POST);
  EXPECT_EQ(first->layer(), 1);
  EXPECT_EQ(first->prompt(), 1);
  EXPECT_EQ(first->position(), 2);
  EXPECT_FALSE(first->by_intervention());
}

TEST(FirstNonFinite, NamesTheHead) {
  const auto first = FirstOf(
      "interventions { place { site: SITE_Z where { layers: 2 heads: 1 prompts: 0 positions { "
      "indices { values: [3, 1] } } units { indices { values: 3 } } } } set { constant: nan } }");
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->head(), 1);
  EXPECT_EQ(first->position(), 1);
}

TEST(FirstNonFinite, IsAbsentIfAllIsFinite) {
  EXPECT_FALSE(FirstOf("").has_value());
  EXPECT_FALSE(FirstOf("interventions { place { site: SITE_RESID_POST } scale { factor: 1e9 } }"));
  // Minus infinity is what a masked score is.
  EXPECT_FALSE(FirstOf("interventions { place { site: SITE_ATTN_SCORES } knockout {} }"));
}

TEST(FirstNonFinite, OfASweepIsThatOfTheFirstVariant) {
  const auto answer = test::AskSweep(test::SweepOf(R"(
      variants {
        variants {}
        variants { interventions { place { site: SITE_Z where { layers: 2 } } set { constant: inf } } }
        variants { interventions { place { site: SITE_Z where { layers: 0 } } set { constant: inf } } }
      }
      metrics { kl_from_clean {} } allow_non_finite: true)"));
  const v1::SweepFinished& finished = answer.events.back().finished();
  EXPECT_EQ(finished.non_finite_variants(), 2);
  EXPECT_EQ(finished.first_non_finite_variant(), 1);
  EXPECT_EQ(finished.first_non_finite().site(), v1::SITE_Z);
  EXPECT_EQ(finished.first_non_finite().layer(), 2);
}

}  // namespace
}  // namespace scalpel::engine
