#include "server/kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/unit/kernels/floats.h"
#include "tests/unit/support/cpus.h"

namespace scalpel::kernels {
namespace {

using test::OnEveryCpu;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Sizes {
  int64_t heads, d_head, length;
};

// Heads that fill whole panels of a target and heads that do not; lengths near the sizes of tiles,
// parts and panels.
constexpr Sizes kSizes[] = {{1, 1, 1},   {3, 5, 17},  {2, 8, 70},  {2, 16, 16},
                            {2, 64, 65}, {1, 80, 40}, {2, 64, 130}};

// The queries, keys and values of a row, side by side as in the model.
struct Case {
  explicit Case(const Sizes& sizes)
      : sizes(sizes),
        width(sizes.heads * sizes.d_head),
        qkv(RandomFloats(sizes.length * 3 * width, 1)),
        shape{.heads = sizes.heads,
              .d_head = sizes.d_head,
              .z_stride = width,
              .divisor = std::sqrt(static_cast<float>(sizes.d_head))} {}

  // A row that computes the queries from position `queries` on, with the keys before position
  // `keys` given as a clean run's.
  AttentionRow Row(int64_t queries, int64_t keys, std::vector<float>& z) const {
    const auto at = [&](int64_t position, int64_t part) {
      return Rows{qkv.data() + position * 3 * width + part * width, 3 * width};
    };
    z.assign((sizes.length - queries) * width, NAN);
    return {.length = sizes.length,
            .queries_first = queries,
            .keys_first = keys,
            .q = at(queries, 0),
            .k = at(keys, 1),
            .v = at(keys, 2),
            .clean_k = at(0, 1),
            .clean_v = at(0, 2),
            .z = z.data()};
  }

  const float* At(int64_t position, int64_t part, int64_t head) const {
    return qkv.data() + (position * 3 + part) * width + head * sizes.d_head;
  }

  const Sizes sizes;
  const int64_t width;
  const std::vector<float> qkv;
  const AttentionShape shape;
};

TEST(Attention, ScoresAndOutputsAreChainsOfFusedMultiplyAdds) {
  for (const Sizes& sizes : kSizes) {
    const Case c(sizes);
    const auto [heads, d_head, length] = sizes;
    OnEveryCpu([&, heads = heads, d_head = d_head, length = length] {
      std::vector<float> z, scores(heads * length * length), pattern(scores.size());
      AttentionRow row = c.Row(0, 0, z);
      row.scores = scores.data();
      row.pattern = pattern.data();
      AttentionScores(c.shape, {&row, 1});
      AttentionPattern(c.shape, {&row, 1});
      AttentionMix(c.shape, {&row, 1});
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t q = 0; q < length; q += 3) {
          const float* entries = scores.data() + (h * length + q) * length;
          const float* weights = pattern.data() + (h * length + q) * length;
          for (int64_t k = 0; k < length; ++k) {
            float chain = 0;
            for (int64_t i = 0; i < d_head; ++i)
              chain = std::fma(c.At(q, 0, h)[i], c.At(k, 1, h)[i], chain);
            ASSERT_EQ(entries[k], k > q ? -kInfinity : chain / c.shape.divisor) << q << ", " << k;
            ASSERT_TRUE(k <= q || weights[k] == 0);
          }
          for (int64_t i = 0; i < d_head; ++i) {
            float chain = 0;
            for (int64_t k = 0; k <= q; ++k) chain = std::fma(weights[k], c.At(k, 2, h)[i], chain);
            ASSERT_EQ(z[q * c.width + h * d_head + i], chain) << q << ", " << i;
          }
        }
      }
    });
  }
}

TEST(Attention, PatternIsTheSoftmaxAndHasEqualBitsOnEveryCpu) {
  const int64_t length = 150;
  std::vector<float> scores = RandomFloats(length * length, 2, 20), first;
  for (int64_t q = 60; q < length; ++q) scores[q * length + q / 2] = -kInfinity;
  for (int64_t k = 0; k < length; ++k) scores[70 * length + k] = -kInfinity;  // no key remains
  OnEveryCpu([&] {
    std::vector<float> pattern(scores.size());
    AttentionRow row = {.length = length,
                        .queries_first = 0,
                        .keys_first = 0,
                        .q = {},
                        .k = {},
                        .v = {},
                        .clean_k = {},
                        .clean_v = {},
                        .z = nullptr};
    row.scores = scores.data();
    row.pattern = pattern.data();
    row.knocked_out = true;
    AttentionPattern({.heads = 1, .d_head = 1, .z_stride = 1}, {&row, 1});
    if (first.empty()) first = pattern;
    ASSERT_EQ(Bits(pattern), Bits(first));
    for (int64_t q = 0; q < length; ++q) {
      long double most = -kInfinity, sum = 0;
      for (int64_t k = 0; k <= q; ++k) most = std::max<long double>(most, scores[q * length + k]);
      for (int64_t k = 0; k <= q; ++k) sum += std::exp(scores[q * length + k] - most);
      for (int64_t k = 0; k < length; ++k) {
        const float weight = pattern[q * length + k];
        const long double exact =
            k > q || q == 70 ? 0 : std::exp(scores[q * length + k] - most) / sum;
        // The relative error of exp(x) includes the rounding error of x, which is larger for a
        // larger difference of scores.
        if (exact > 1e-30) {
          ASSERT_NEAR(static_cast<double>(weight / exact), 1, 4e-6) << q << ", " << k;
        } else {
          ASSERT_LE(weight, exact == 0 ? 0 : 1e-29) << q << ", " << k;
        }
      }
    }
  });
}

TEST(Attention, AttendEqualsTheThreeSteps) {
  for (const Sizes& sizes : kSizes) {
    const Case c(sizes);
    std::vector<float> first;
    OnEveryCpu([&] {
      std::vector<float> z, steps, scores(sizes.heads * sizes.length * sizes.length),
          pattern(scores.size());
      AttentionRow row = c.Row(0, 0, z);
      Attend(c.shape, {&row, 1});
      row = c.Row(0, 0, steps);
      row.scores = scores.data();
      row.pattern = pattern.data();
      AttentionScores(c.shape, {&row, 1});
      AttentionPattern(c.shape, {&row, 1});
      AttentionMix(c.shape, {&row, 1});
      ASSERT_EQ(Bits(z), Bits(steps));
      if (first.empty()) first = z;
      ASSERT_EQ(Bits(z), Bits(first));
    });
  }
}

// Varies which queries are computed, where the keys are stored, and whether neighbouring rows share
// a clean run.
TEST(Attention, BitsOfAQueryDependOnlyOnItsKeys) {
  for (const Sizes& sizes : kSizes) {
    const Case c(sizes);
    std::vector<float> all;
    AttentionRow whole = c.Row(0, 0, all);
    Attend(c.shape, {&whole, 1});
    OnEveryCpu([&] {
      std::vector<std::vector<float>> answers(20);
      std::vector<AttentionRow> rows;
      std::vector<int64_t> begins;
      for (int64_t i = 0; i < 20; ++i) {
        const int64_t keys = (i / 3 * 7) % sizes.length;
        begins.push_back(keys + (i % 3 == 2 ? (sizes.length - keys) / 2 : 0));
        rows.push_back(c.Row(begins.back(), keys, answers[i]));
      }
      Attend(c.shape, rows);
      for (size_t i = 0; i < rows.size(); ++i) {
        const std::vector<float> expected(all.begin() + begins[i] * c.width, all.end());
        ASSERT_EQ(Bits(answers[i]), Bits(expected)) << i;
      }
    });
  }
}

TEST(Attention, ScalesQueriesAndScores) {
  const Case c({2, 8, 20});
  OnEveryCpu([&] {
    std::vector<float> z, scores(2 * 20 * 20);
    AttentionRow row = c.Row(0, 0, z);
    row.scores = scores.data();
    const auto score = [&](const AttentionShape& shape) {
      AttentionScores(shape, {&row, 1});
      return scores[(1 * 20 + 9) * 20 + 4];
    };
    float plain = 0, scaled = 0;
    for (int64_t i = 0; i < 8; ++i) {
      plain = std::fma(c.At(9, 0, 1)[i], c.At(4, 1, 1)[i], plain);
      scaled = std::fma(c.At(9, 0, 1)[i] * 0.3f, c.At(4, 1, 1)[i], scaled);
    }
    const AttentionShape shape = {.heads = 2, .d_head = 8, .z_stride = 16};
    AttentionShape queries = shape, power = shape, both = shape;
    queries.query_factor = 0.3f;
    power.divisor = 8;
    both.divisor = 2.828427f;
    both.layer_divisor = 3;
    EXPECT_EQ(score(shape), plain);
    EXPECT_EQ(score(queries), scaled);
    EXPECT_EQ(score(power), plain / 8);
    EXPECT_EQ(score(both), plain / 2.828427f / 3);
  });
}

// Infinities and NaN at later positions must not reach a query, not even multiplied by 0.
TEST(Attention, IgnoresLaterPositions) {
  Sizes sizes = {1, 64, 40};
  const Case clean(sizes);
  Case c(sizes);
  auto& qkv = const_cast<std::vector<float>&>(c.qkv);
  for (int64_t i = 0; i < 3 * c.width; ++i) qkv[20 * 3 * c.width + i] = i % 2 ? kInfinity : NAN;
  OnEveryCpu([&] {
    std::vector<float> z, expected;
    const AttentionRow row = c.Row(0, 0, z), same = clean.Row(0, 0, expected);
    Attend(c.shape, {&row, 1});
    Attend(clean.shape, {&same, 1});
    z.resize(20 * c.width);
    expected.resize(20 * c.width);
    EXPECT_EQ(Bits(z), Bits(expected));
  });
}

}  // namespace
}  // namespace scalpel::kernels
