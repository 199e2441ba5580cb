#include "server/kernels/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/unit/kernels/floats.h"
#include "tests/unit/support/cpus.h"

namespace scalpel::kernels {
namespace {

using test::OnEveryCpu;

struct Shape {
  int64_t in, out;
};

// Sizes below, at and above those of panels and blocks of each target.
constexpr Shape kShapes[] = {{1, 1},    {3, 17},   {15, 45},  {96, 64},   {127, 65},
                             {128, 70}, {129, 16}, {257, 33}, {300, 150}, {600, 130}};

// The required bits of an output: its chain, computed by the C library's fma.
float Chain(const std::vector<float>& x, int64_t row, int64_t x_stride,
            const std::vector<float>& weight, int64_t in, int64_t out, int64_t column, float bias) {
  float sum = bias;
  for (int64_t k = 0; k < in; ++k)
    sum = std::fma(x[row * x_stride + k], weight[k * out + column], sum);
  return sum;
}

TEST(Multiply, IsOneChainOfFusedMultiplyAdds) {
  for (const auto& [in, out] : kShapes) {
    const auto weight = RandomFloats(in * out, 1), bias = RandomFloats(out, 2);
    constexpr int64_t kRows = 40;
    const int64_t x_stride = in + 3, y_stride = out + 2;
    const auto x = RandomFloats(kRows * x_stride, 3);
    std::vector<float> chains;
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t column = 0; column < out; ++column)
        chains.push_back(Chain(x, row, x_stride, weight, in, out, column, bias[column]));
    }
    OnEveryCpu([&, in = in, out = out] {
      const PackedMatrix matrix(weight.data(), in, out, out, 1, bias.data());
      for (const int64_t rows : {1, 2, 5, 6, 7, 12, 13, 18, 19, 40}) {
        std::vector<float> y(kRows * y_stride, -7);
        Multiply(matrix,
                 {.x = {x.data(), x_stride}, .rows = rows, .y = y.data(), .y_stride = y_stride});
        for (int64_t row = 0; row < kRows; ++row) {
          for (int64_t column = 0; column < y_stride; ++column) {
            const bool written = row < rows && column < out;
            ASSERT_EQ(y[row * y_stride + column], written ? chains[row * out + column] : -7)
                << in << " to " << out << ", " << rows << " rows: " << row << ", " << column;
          }
        }
      }
    });
  }
}

TEST(Multiply, ComputesManyRowsOnSeveralThreads) {
  const int64_t in = 200, out = 333, rows = 500;
  const auto weight = RandomFloats(in * out, 1), bias = RandomFloats(out, 2),
             x = RandomFloats(rows * in, 3);
  std::vector<float> first;
  OnEveryCpu([&] {
    const PackedMatrix matrix(weight.data(), in, out, out, 1, bias.data());
    std::vector<float> y(rows * out);
    Multiply(matrix, {.x = {x.data(), in}, .rows = rows, .y = y.data(), .y_stride = out});
    for (int64_t row = 0; row < rows; row += 83) {
      for (int64_t column = 0; column < out; column += 7)
        ASSERT_EQ(y[row * out + column], Chain(x, row, in, weight, in, out, column, bias[column]));
    }
    if (first.empty()) first = y;
    EXPECT_EQ(Bits(y), Bits(first));
  });
}

TEST(Multiply, AcceptsTransposedWeightsAndNoBias) {
  const int64_t in = 40, out = 90;
  const auto weight = RandomFloats(in * out, 1), x = RandomFloats(2 * in, 3);
  std::vector<float> transposed(in * out);
  for (int64_t i = 0; i < in; ++i) {
    for (int64_t o = 0; o < out; ++o) transposed[o * in + i] = weight[i * out + o];
  }
  OnEveryCpu([&] {
    const PackedMatrix matrix(transposed.data(), in, out, 1, in, nullptr);
    std::vector<float> y(2 * out);
    Multiply(matrix, {.x = {x.data(), in}, .rows = 2, .y = y.data(), .y_stride = out});
    for (int64_t o = 0; o < out; ++o) ASSERT_EQ(y[o], Chain(x, 0, in, weight, in, out, o, 0));
  });
}

TEST(Multiply, AppliesActivationAndSumAndSelectsInputs) {
  const int64_t in = 150, out = 77, rows = 9, first = 30, last = 130;
  const auto weight = RandomFloats(in * out, 1), bias = RandomFloats(out, 2),
             x = RandomFloats(rows * in, 3), add = RandomFloats(rows * out, 4);
  const std::vector<float> part(weight.begin() + first * out, weight.begin() + last * out);
  OnEveryCpu([&] {
    const PackedMatrix matrix(weight.data(), in, out, out, 1, bias.data());
    std::vector<float> y(rows * out), z(rows * out);
    Multiply(matrix, {.x = {x.data(), in},
                      .rows = rows,
                      .y = y.data(),
                      .y_stride = out,
                      .activation = Activation::kRelu,
                      .add = {add.data(), out}});
    Multiply(matrix, {.x = {x.data() + first, in},
                      .rows = rows,
                      .y = z.data(),
                      .y_stride = out,
                      .first = first,
                      .last = last,
                      .with_bias = false});
    for (int64_t i = 0; i < rows * out; ++i) {
      const float chain = Chain(x, i / out, in, weight, in, out, i % out, bias[i % out]);
      ASSERT_EQ(y[i], std::max(chain, 0.0f) + add[i]);
      ASSERT_EQ(z[i], Chain(std::vector<float>(x.begin() + first, x.end()), i / out, in, part,
                            last - first, out, i % out, 0));
    }
  });
}

// A matrix that was packed for one target is multiplied by it even after another is forced.
TEST(PackedMatrix, KeepsTheTargetItWasPackedFor) {
  const int64_t in = 70, out = 90;
  const auto weight = RandomFloats(in * out, 1), x = RandomFloats(3 * in, 3);
  const PackedMatrix matrix(weight.data(), in, out, out, 1, nullptr);
  OnEveryCpu([&] {
    std::vector<float> y(3 * out);
    Multiply(matrix, {.x = {x.data(), in}, .rows = 3, .y = y.data(), .y_stride = out});
    for (int64_t o = 0; o < out; ++o) ASSERT_EQ(y[o], Chain(x, 0, in, weight, in, out, o, 0));
  });
}

}  // namespace
}  // namespace scalpel::kernels
