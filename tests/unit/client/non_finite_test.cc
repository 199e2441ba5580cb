// What views say of values that are infinite or NaN.

#include "client/cpp/non_finite.h"

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>
#include <vector>

#include "client/cpp/sweep_view.h"

namespace scalpel::client {
namespace {

v1::FirstNonFinite First() {
  v1::FirstNonFinite first;
  first.set_site(v1::SITE_Z);
  first.set_layer(9);
  first.set_head(0);
  first.set_prompt(1);
  first.set_position(3);
  first.set_by_intervention(true);
  return first;
}

// A finished sweep over two layers and two heads with these values; the clean run's is `clean`.
std::string Shown(const std::vector<double>& values, double clean) {
  std::ostringstream out;
  SweepView view(Screen{out}, nullptr);
  v1::SweepResponse response;
  for (const char* name : {"layer", "head"}) {
    v1::AxisInfo* axis = response.mutable_started()->add_axes();
    axis->set_name(name);
    axis->add_labels("0");
    axis->add_labels("1");
  }
  response.mutable_started()->set_variants(4);
  view.Add(response);
  v1::MetricResult* result = response.mutable_clean()->add_metrics();
  result->set_name("m");
  result->add_values(clean);
  view.Add(response);
  for (int i = 0; i < static_cast<int>(values.size()); ++i) {
    v1::VariantResult* variant = response.mutable_variant();
    variant->Clear();
    variant->set_index(i);
    variant->add_coordinates(i / 2);
    variant->add_coordinates(i % 2);
    v1::MetricResult* value = variant->add_metrics();
    value->set_name("m");
    value->add_values(values[i]);
    view.Add(response);
  }
  v1::SweepFinished* finished = response.mutable_finished();
  finished->set_variants(4);
  finished->set_non_finite_variants(2);
  finished->set_first_non_finite_variant(2);
  *finished->mutable_first_non_finite() = First();
  view.Add(response);
  return out.str();
}

TEST(ClientNonFinite, ShowsWhereItArose) {
  std::ostringstream out;
  PrintNonFinite(Screen{out}, "", First());
  EXPECT_EQ(out.str(),
            "\nnot finite\n"
            "  z, layer 9, head 0, prompt 1, position 3, made by an intervention\n");
}

TEST(ClientNonFinite, NamesOnlyWhatTheSiteHas) {
  v1::FirstNonFinite first;
  first.set_site(v1::SITE_EMBED);
  first.set_clean(true);
  std::ostringstream out;
  PrintNonFinite(Screen{out}, "layer 1", first);
  EXPECT_EQ(out.str(), "\nnot finite\n  layer 1: embed, prompt 0, position 0, in the clean run\n");
}

TEST(ClientNonFinite, NonFiniteVariantsAreNotTheFurthest) {
  const std::string shown = Shown({1, 5, NAN, 2}, 1);
  EXPECT_NE(shown.find("furthest from clean\n  layer 0, head 1"), std::string::npos) << shown;
  EXPECT_NE(shown.find("      1  ? 2\n"), std::string::npos) << shown;  // the map's cell
  EXPECT_EQ(shown.find("nan"), std::string::npos) << shown;
  EXPECT_NE(shown.find("2 variants, the first layer 1, head 0: z, layer 9"), std::string::npos)
      << shown;
}

TEST(ClientNonFinite, ANonFiniteCleanRunIsNotTheCentre) {
  const std::string shown = Shown({1, 5, NAN, 2}, NAN);
  EXPECT_NE(shown.find("furthest from 0\n  layer 0, head 1"), std::string::npos) << shown;
  EXPECT_EQ(shown.find(", clean nan"), std::string::npos) << shown;  // the legend
}

TEST(ClientNonFinite, WithoutFiniteValuesNoneIsTheFurthest) {
  EXPECT_EQ(Shown({NAN, NAN, NAN, NAN}, 1).find("furthest"), std::string::npos);
}

}  // namespace
}  // namespace scalpel::client
