// Digests of the results of every kernel, which CPUs of all architectures must give. Other tests
// compare the targets of one CPU with each other; this one compares those of x86 with those of
// arm64.
//
// The inputs are made from integers, since the distributions of the standard library differ between
// implementations. They do not lead to NaN, whose sign depends on the CPU.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/kernels/activation.h"
#include "server/kernels/attention.h"
#include "server/kernels/linear.h"
#include "server/kernels/log_softmax.h"
#include "server/kernels/math64.h"
#include "server/kernels/moments.h"
#include "server/kernels/norm.h"
#include "tests/unit/support/cpus.h"

namespace scalpel::kernels {
namespace {

// SplitMix64 (Steele, Lea and Flood, 2014).
class Generator {
 public:
  explicit Generator(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  // A number in [-1, 1), computed without rounding.
  double Signed() { return (static_cast<double>(Next() >> 11) - 0x1p52) * 0x1p-52; }

 private:
  uint64_t state_;
};

std::vector<float> Floats(int64_t count, uint64_t seed, double scale = 1) {
  Generator generator(seed);
  std::vector<float> x(count);
  for (float& value : x) value = static_cast<float>(scale * generator.Signed());
  return x;
}

// FNV-1a of the bits of numbers, the lowest byte first.
class Digest {
 public:
  template <class Float>
  Digest& Add(const std::vector<Float>& x) {
    for (const Float value : x) Add(value);
    return *this;
  }
  Digest& Add(float x) { return AddBytes(std::bit_cast<uint32_t>(x), 4, std::isnan(x)); }
  Digest& Add(double x) { return AddBytes(std::bit_cast<uint64_t>(x), 8, std::isnan(x)); }

  std::string Hex() const { return absl::StrCat("0x", absl::Hex(hash_, absl::kZeroPad16)); }

 private:
  Digest& AddBytes(uint64_t bits, int bytes, bool nan) {
    EXPECT_FALSE(nan);
    for (int i = 0; i < bytes; ++i) hash_ = (hash_ ^ (bits >> (8 * i) & 0xff)) * 0x100000001b3;
    return *this;
  }

  uint64_t hash_ = 0xcbf29ce484222325;
};

// Checks that the Digest that make() returns is the expected one on every target.
template <class Make>
void ExpectOnEveryCpu(const char* expected, Make make) {
  test::OnEveryCpu([&] { EXPECT_EQ(make().Hex(), expected); });
}

struct Shape {
  int64_t in, out, rows;
};

// Products alone, with activation and sum, and with only some of the inputs.
Digest MultiplyIn(const Shape& shape) {
  const auto [in, out, rows] = shape;
  const auto weight = Floats(in * out, 1), bias = Floats(out, 2), x = Floats(rows * in, 3),
             add = Floats(rows * out, 4);
  const PackedMatrix matrix(weight.data(), in, out, out, 1, bias.data());
  std::vector<float> y(rows * out);
  Product product = {.x = {x.data(), in}, .rows = rows, .y = y.data(), .y_stride = out};
  Digest digest;
  Multiply(matrix, product);
  digest.Add(y);
  product.activation = Activation::kGeluNew;
  product.add = {add.data(), out};
  Multiply(matrix, product);
  digest.Add(y);
  product.first = in / 3;
  product.last = in;
  product.with_bias = false;
  Multiply(matrix, product);
  return digest.Add(y);
}

TEST(Golden, Multiply) {
  ExpectOnEveryCpu("0xa62eb741e7032a22", [] { return MultiplyIn({1, 1, 1}); });
  ExpectOnEveryCpu("0xec92732baa7577aa", [] { return MultiplyIn({70, 90, 7}); });
  ExpectOnEveryCpu("0xd3c50c0de816054a", [] { return MultiplyIn({300, 257, 19}); });
  ExpectOnEveryCpu("0xb64e761bff9e49bc", [] { return MultiplyIn({96, 192, 110}); });
}

// A row whose first `clean` keys come from a clean run, by Attend and by the three steps.
Digest AttendIn(AttentionShape shape, int64_t length, int64_t clean, uint64_t seed) {
  const int64_t width = shape.heads * shape.d_head, own = length - clean;
  const auto q = Floats(own * width, seed, 2), k = Floats(own * width, seed + 1, 2),
             v = Floats(own * width, seed + 2), clean_k = Floats(clean * width, seed + 3, 2),
             clean_v = Floats(clean * width, seed + 4);
  std::vector<float> z(own * width), scores(shape.heads * own * length), pattern(scores.size());
  const AttentionRow row = {.length = length,
                            .queries_first = clean,
                            .keys_first = clean,
                            .q = {q.data(), width},
                            .k = {k.data(), width},
                            .v = {v.data(), width},
                            .clean_k = {clean_k.data(), width},
                            .clean_v = {clean_v.data(), width},
                            .z = z.data(),
                            .scores = scores.data(),
                            .pattern = pattern.data()};
  shape.z_stride = width;
  Attend(shape, {&row, 1});
  Digest digest;
  digest.Add(z);
  AttentionScores(shape, {&row, 1});
  AttentionPattern(shape, {&row, 1});
  AttentionMix(shape, {&row, 1});
  return digest.Add(scores).Add(pattern).Add(z);
}

TEST(Golden, Attention) {
  const AttentionShape wide = {.heads = 2, .d_head = 64, .z_stride = 0, .divisor = 8};
  const AttentionShape narrow = {.heads = 3,
                                 .d_head = 5,
                                 .z_stride = 0,
                                 .query_factor = 0.3f,
                                 .divisor = 2.236068f,
                                 .layer_divisor = 3};
  ExpectOnEveryCpu("0x65fc35f790470d05", [&] { return AttendIn(wide, 130, 0, 10); });
  ExpectOnEveryCpu("0x9ac079fdb44a1f0e", [&] { return AttendIn(wide, 130, 61, 20); });
  ExpectOnEveryCpu("0x67f2600324b4891f", [&] { return AttendIn(narrow, 43, 0, 30); });
  ExpectOnEveryCpu("0x15162ecf94e1b2a5", [&] { return AttendIn(narrow, 43, 18, 40); });
}

TEST(Golden, LayerNorm) {
  ExpectOnEveryCpu("0x23031d83489482b5", [] {
    Digest digest;
    for (const int64_t width : {1, 17, 96, 771}) {
      constexpr int64_t kRows = 7;
      const auto x = Floats(kRows * width, width, 3), gain = Floats(width, 2),
                 bias = Floats(width, 3);
      std::vector<float> y(kRows * width), scale(kRows);
      LayerNorm({gain.data(), bias.data(), width, 1e-5}, {x.data(), width}, kRows, y.data(),
                scale.data());
      digest.Add(y).Add(scale);
    }
    return digest;
  });
}

// Finite floats of every exponent and both signs.
std::vector<float> ManyFloats() {
  std::vector<float> floats;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 200'003) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (std::isfinite(x)) floats.push_back(x);
  }
  return floats;
}

TEST(Golden, Activations) {
  static constexpr std::pair<Activation, const char*> kExpected[] = {
      {Activation::kGeluNew, "0x03f80d9f634e4189"}, {Activation::kGelu, "0xd192bbd5661b96b0"},
      {Activation::kGelu10, "0x8deb4fe5d2800b3d"},  {Activation::kQuickGelu, "0x7fc6c5ef94461ee7"},
      {Activation::kRelu, "0x801a63e4f131cc53"},    {Activation::kRelu2, "0xa3175ad5e67a5be7"},
      {Activation::kRelu6, "0x01a09f0cf8b5d55a"},   {Activation::kLeakyRelu, "0xcbc56a43f4ce692f"},
      {Activation::kSilu, "0x5b3d0b1ecacb356b"},    {Activation::kMish, "0xb701de9f05ce7a74"},
      {Activation::kTanh, "0x31b235365deda9ed"},    {Activation::kSigmoid, "0x57949392e6e8def9"},
      {Activation::kLaplace, "0x350f352de11f178b"}, {Activation::kLinear, "0xa43681b30d99573e"},
  };
  static_assert(std::size(kExpected) == static_cast<size_t>(Activation::kLinear) + 1);
  std::vector<float> x = ManyFloats();
  const auto near = Floats(20'000, 5, 12);  // where they are not constant
  x.insert(x.end(), near.begin(), near.end());
  for (const auto& [activation, expected] : kExpected) {
    SCOPED_TRACE(static_cast<int>(activation));
    ExpectOnEveryCpu(expected, [&, activation = activation] {
      std::vector<float> y(x.size());
      Activate(activation, x.data(), y.data(), static_cast<int64_t>(x.size()));
      return Digest().Add(y);
    });
  }
}

TEST(Golden, ExpAndLogOfDoubles) {
  constexpr int64_t kCount = 50'001;
  Generator generator(6);
  std::vector<double> powers, positive;
  for (int64_t i = 0; i < kCount; ++i) {
    powers.push_back((i % 2 ? 760 : 2) * generator.Signed());
    const double any = std::bit_cast<double>(generator.Next() >> 1);
    positive.push_back(i % 2 && std::isfinite(any) ? any : 1 + generator.Signed());
  }
  std::vector<double> y(kCount);
  ExpectOnEveryCpu("0x68a4e3274dabb58c", [&] {
    Exp(powers.data(), y.data(), kCount);
    return Digest().Add(y);
  });
  ExpectOnEveryCpu("0xe51df43dea918c76", [&] {
    Log(positive.data(), y.data(), kCount);
    return Digest().Add(y);
  });
}

TEST(Golden, LogSoftmax) {
  ExpectOnEveryCpu("0xbc9f64f2eade554b", [] {
    Digest digest;
    for (const int64_t count : {1, 17, 300, 50257}) {
      std::vector<double> log_p(count), log_q(count), p(count);
      LogSoftmax(Floats(count, 7, 15).data(), log_p.data(), count);
      LogSoftmax(Floats(count, 8, 15).data(), log_q.data(), count);
      Exp(log_p.data(), p.data(), count);
      digest.Add(log_p).Add(p).Add(KlDivergence(p.data(), log_p.data(), log_q.data(), count));
    }
    return digest;
  });
}

TEST(Golden, Moments) {
  ExpectOnEveryCpu("0x8dc90907205e70ab", [] {
    Digest digest;
    for (const int64_t count : {1, 15, 16, 37, 768, 50257}) {
      auto x = Floats(count, 9, 3), y = Floats(count, 10, 3), p = Floats(count, 11);
      for (float& value : p) value = std::abs(value);
      for (int64_t i = 0; i < count; i += 7) x[i] = i % 2 ? 0.0f : -0.0f;
      const CentralSums central = CentralSumsOf(x.data(), count, 0.3);
      const Extremes extremes = ExtremesOf(x.data(), count);
      digest.Add(Sum(x.data(), count)).Add(SumOfSquares(x.data(), count));
      digest.Add(central.squares).Add(central.fourths);
      digest.Add(Dot(x.data(), y.data(), count)).Add(SquaredDistance(x.data(), y.data(), count));
      digest.Add(Entropy(p.data(), count)).Add(extremes.min).Add(extremes.max);
      digest.Add(static_cast<double>(CountZeros(x.data(), count)));
    }
    return digest;
  });
}

}  // namespace
}  // namespace scalpel::kernels
