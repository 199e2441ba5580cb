// Every operation against two lines of its own, and the noise against its definition.

#include "server/spec/ops.h"

#include <Random123/philox.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "server/spec/noise.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::spec {
namespace {

using test::FromText;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Region Whole(std::vector<int64_t> sizes) {
  std::vector<IndexSet> axes;
  for (const int64_t size : sizes) axes.push_back(IndexSet::Arithmetic(0, size, 1));
  return Region(axes);
}

// What the operation makes of `x`, which is all of a site.
at::Tensor Applied(const std::string& text, const at::Tensor& x, at::Tensor operand = {},
                   at::Tensor source = {}, v1::Site site = v1::SITE_RESID_POST) {
  const auto intervention = FromText<v1::Intervention>(text);
  const Region region = Whole(x.sizes().vec());
  const at::Tensor untouched = x.clone();
  const at::Tensor result = Apply({.intervention = intervention,
                                   .site = *FindSite(site),
                                   .target = region,
                                   .current = x,
                                   .source = source,
                                   .operand = operand,
                                   .index = 0,
                                   .layer = 0,
                                   .prompt = 0,
                                   .inner = x.size(-1)});
  EXPECT_TRUE(test::SameBits(x, untouched)) << text << " wrote to its input";
  EXPECT_EQ(result.sizes(), x.sizes()) << text;
  return result;
}

TEST(Apply, ComputesZeroScaleAddSetAndClamp) {
  const at::Tensor x = at::randn({4, 6}), vector = at::randn({6});
  EXPECT_TRUE(at::equal(Applied("zero {}", x), at::zeros({4, 6})));
  EXPECT_TRUE(at::equal(Applied("scale { factor: -2.5 }", x), x * -2.5f));
  EXPECT_TRUE(at::equal(Applied("add { constant: 1.5 coefficient: 2 }", x), x + 3.0f));
  EXPECT_TRUE(
      at::equal(Applied("add { tensor {} coefficient: -3 }", x, vector), x + vector * -3.0f));
  EXPECT_TRUE(at::equal(Applied("set { constant: 7 }", x), at::full({4, 6}, 7.0f)));
  EXPECT_TRUE(at::equal(Applied("set { tensor {} }", x, vector), vector.expand({4, 6})));
  EXPECT_TRUE(
      at::equal(Applied("clamp { min: -0.5 }", x), at::maximum(x, at::full_like(x, -0.5f))));
  EXPECT_TRUE(
      at::equal(Applied("clamp { max: 0.25 }", x), at::minimum(x, at::full_like(x, 0.25f))));
  EXPECT_TRUE(at::equal(Applied("clamp { min: -0.1 max: 0.1 }", x), x.clamp(-0.1, 0.1)));
}

// at::clamp may turn either zero into the other, and does so depending on the CPU.
TEST(Apply, ClampKeepsTheBitsOfNumbersInTheRange) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor x =
      at::tensor({-0.0f, 0.0f, nan, -1.0f, 1.0f, -kInfinity, kInfinity}).repeat({5});
  EXPECT_TRUE(test::SameBits(
      Applied("clamp { min: 0 max: 0.5 }", x.view({5, 7})),
      at::tensor({-0.0f, 0.0f, nan, 0.0f, 0.5f, 0.0f, 0.5f}).repeat({5}).view({5, 7})));
}

TEST(Apply, MeanReplacesEveryPositionByTheSourcesMean) {
  const at::Tensor x = at::randn({4, 6}), source = at::randn({2, 6});
  const at::Tensor mean = (source[0] + source[1]) / 2;
  EXPECT_TRUE(at::allclose(Applied("mean {}", x, {}, source), mean.expand({4, 6})));
  // At a pattern the positions are the queries, its second axis.
  const at::Tensor pattern = at::rand({3, 4, 4}), rows = at::rand({3, 2, 4});
  EXPECT_TRUE(
      at::allclose(Applied("mean {}", pattern, {}, rows, v1::SITE_PATTERN),
                   ((rows.select(1, 0) + rows.select(1, 1)) / 2).unsqueeze(1).expand({3, 4, 4})));
}

TEST(Apply, PatchCopiesItsSource) {
  const at::Tensor x = at::randn({2, 6});
  at::Tensor source = at::randn({2, 6});
  const at::Tensor before = source.clone(), patched = Applied("patch { prompt: 0 }", x, {}, source);
  source.zero_();
  EXPECT_TRUE(at::equal(patched, before));
}

TEST(Apply, ProjectOutRescalesTheComponentAlongTheDirection) {
  const at::Tensor x = at::randn({4, 6}), direction = at::randn({6}) * 3;
  const auto along = [&](const at::Tensor& y) { return at::mv(y, direction / direction.norm()); };
  const at::Tensor removed = Applied("project_out { factor: 0 }", x, direction);
  EXPECT_LT(along(removed).abs().max().item<float>(), 1e-5);
  const at::Tensor doubled = Applied("project_out { factor: 2 }", x, direction);
  EXPECT_TRUE(at::allclose(along(doubled), 2 * along(x), 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(doubled - x, x - removed, 1e-4, 1e-5));  // nothing else moves
}

TEST(Apply, KnockoutIsMinusInfinity) {
  const at::Tensor scores =
      Applied("knockout {}", at::randn({2, 3, 3}), {}, {}, v1::SITE_ATTN_SCORES);
  EXPECT_TRUE(at::equal(scores, at::full({2, 3, 3}, -kInfinity)));
}

TEST(Apply, NoiseReplacesOrIsAdded) {
  const at::Tensor x = at::randn({4, 6});
  const at::Tensor noise = NoiseTensor({.seed = 9, .intervention = 0, .layer = 0, .prompt = 0}, 0.5,
                                       2, *FindSite(v1::SITE_RESID_POST), Whole({4, 6}), 6);
  const std::string noisy = "noise { mean: 0.5 std: 2 seed: 9 mode: ";
  EXPECT_TRUE(at::equal(Applied(noisy + "NOISE_MODE_REPLACE }", x), noise));
  EXPECT_TRUE(at::equal(Applied(noisy + "NOISE_MODE_ADD }", x), x + noise));
}

// Nothing of the contract is refused by name: each operation makes something of its values.
TEST(Apply, KnowsEveryOperationOfTheContract) {
  const at::Tensor x = at::randn({4, 6}), vector = at::randn({6});
  const auto* oneof = v1::Intervention::descriptor()->FindOneofByName("operation");
  for (int i = 0; i < oneof->field_count(); ++i) {
    const std::string text = oneof->field(i)->name() + " {}";
    EXPECT_NO_THROW(Applied(text, x, vector, x)) << text;
  }
  EXPECT_THROW(Applied("", x), c10::Error);
}

TEST(ChangeMask, SelectsOnlyKeysThatAQueryMaySee) {
  const Region region(
      {IndexSet::Arithmetic(0, 2, 1), IndexSet::List({1, 3}), IndexSet::Arithmetic(0, 4, 1)});
  const at::Tensor mask = ChangeMask(*FindSite(v1::SITE_PATTERN), region, nullptr, at::kCPU);
  EXPECT_TRUE(at::equal(mask, at::tensor({1, 1, 0, 0, 1, 1, 1, 1}).view({2, 4}).to(at::kBool)));
  EXPECT_FALSE(ChangeMask(*FindSite(v1::SITE_Z), region, nullptr, at::kCPU).defined());
}

TEST(ChangeMask, SelectsOnlyThePairsOfAKnockout) {
  const std::vector<AttentionPair> pairs = {{3, 0}, {1, 0}, {3, 2}};
  const Region mesh(
      {IndexSet::Arithmetic(0, 1, 1), IndexSet::List({1, 3}), IndexSet::List({0, 2})});
  const at::Tensor mask = ChangeMask(*FindSite(v1::SITE_ATTN_SCORES), mesh, &pairs, at::kCPU);
  EXPECT_TRUE(at::equal(mask, at::tensor({1, 0, 1, 1}).view({2, 2}).to(at::kBool)));
}

// ---- noise --------------------------------------------------------------------------------------

// Known answer of Philox4x32-10 from Random123's own test vectors, and the transform written out.
TEST(NoiseTensor, IsPhiloxThroughBoxAndMuller) {
  const auto known = r123::Philox4x32()({{0, 0, 0, 0}}, {{0, 0}});
  ASSERT_THAT(std::vector<uint32_t>(known.begin(), known.end()),
              ::testing::ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  // Counter and key are zero for the first element of a site without layers.
  const at::Tensor noise =
      NoiseTensor({.seed = 0, .intervention = 0, .layer = model::kNoLayer, .prompt = 0}, 0, 1,
                  *FindSite(v1::SITE_EMBED), Whole({1, 4}), 4);
  const double u0 = (0x6627e8d5 + 0.5) / 4294967296.0, u1 = (0xe169c58d + 0.5) / 4294967296.0;
  const double u2 = (0xbc57ac4c + 0.5) / 4294967296.0, u3 = (0x9b00dbd8 + 0.5) / 4294967296.0;
  constexpr double kTwoPi = 2 * std::numbers::pi;
  EXPECT_FLOAT_EQ(noise[0][0].item<float>(), std::sqrt(-2 * std::log(u0)) * std::cos(kTwoPi * u1));
  EXPECT_FLOAT_EQ(noise[0][1].item<float>(), std::sqrt(-2 * std::log(u0)) * std::sin(kTwoPi * u1));
  EXPECT_FLOAT_EQ(noise[0][2].item<float>(), std::sqrt(-2 * std::log(u2)) * std::cos(kTwoPi * u3));
  EXPECT_FLOAT_EQ(noise[0][3].item<float>(), std::sqrt(-2 * std::log(u2)) * std::sin(kTwoPi * u3));
}

// A selected element has the value that it has when everything is selected.
TEST(NoiseTensor, DoesNotDependOnTheSelection) {
  const NoiseKey key{.seed = 5, .intervention = 2, .layer = 1, .prompt = 3};
  struct Case {
    v1::Site site;
    std::vector<int64_t> sizes;
  };
  for (const Case& c : {Case{v1::SITE_RESID_POST, {6, 15}}, Case{v1::SITE_Z, {6, 3, 5}},
                        Case{v1::SITE_PATTERN, {3, 6, 6}}}) {
    const SiteEntry& site = *FindSite(c.site);
    const at::Tensor all = NoiseTensor(key, 1, 2, site, Whole(c.sizes), c.sizes.back());
    std::vector<IndexSet> axes;
    for (const int64_t size : c.sizes) axes.push_back(IndexSet::List({0, size - 2, size - 1}));
    const Region part(axes);
    EXPECT_TRUE(at::equal(NoiseTensor(key, 1, 2, site, part, c.sizes.back()), part.Read(all)))
        << site.name;
  }
}

TEST(NoiseTensor, EveryCoordinateMatters) {
  const auto draw = [](const NoiseKey& key) {
    return NoiseTensor(key, 0, 1, *FindSite(v1::SITE_RESID_POST), Whole({2, 3}), 3);
  };
  const NoiseKey base{.seed = 1, .intervention = 0, .layer = 0, .prompt = 0};
  EXPECT_TRUE(at::equal(draw(base), draw(base)));
  EXPECT_FALSE(at::equal(draw(base)[0], draw(base)[1]));  // position
  for (const NoiseKey& other :
       {NoiseKey{.seed = 2, .intervention = 0, .layer = 0, .prompt = 0},
        NoiseKey{.seed = 1 + (uint64_t{1} << 32), .intervention = 0, .layer = 0, .prompt = 0},
        NoiseKey{.seed = 1, .intervention = 1, .layer = 0, .prompt = 0},
        NoiseKey{.seed = 1, .intervention = 0, .layer = model::kNoLayer, .prompt = 0},
        NoiseKey{.seed = 1, .intervention = 0, .layer = 0, .prompt = 1}}) {
    EXPECT_FALSE(at::equal(draw(base), draw(other)));
  }
}

TEST(NoiseTensor, IsNormalWithTheGivenMeanAndStd) {
  const at::Tensor noise = NoiseTensor({.seed = 3, .intervention = 0, .layer = 4, .prompt = 0}, -1,
                                       0.5, *FindSite(v1::SITE_MLP_POST), Whole({100, 1000}), 1000)
                               .to(at::kDouble);
  const at::Tensor z =
      (noise + 1) / 0.5;  // 10^5 samples: standard errors of 0.003 and of moments below
  EXPECT_NEAR(z.mean().item<double>(), 0, 0.015);
  EXPECT_NEAR(z.std().item<double>(), 1, 0.011);
  EXPECT_NEAR(z.pow(3).mean().item<double>(), 0, 0.06);
  EXPECT_NEAR(z.pow(4).mean().item<double>(), 3, 0.16);
  EXPECT_NEAR((z.abs() < 1).to(at::kDouble).mean().item<double>(), 0.6827, 0.008);
  const at::Tensor next = z.flatten().narrow(0, 1, 99999), last = z.flatten().narrow(0, 0, 99999);
  EXPECT_NEAR((next * last).mean().item<double>(), 0, 0.016);  // neighbours share a block
}

}  // namespace
}  // namespace scalpel::spec
