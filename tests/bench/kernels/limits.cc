#include "tests/bench/kernels/limits.h"

#include "server/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/kernels/limits.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "absl/strings/str_format.h"
#include "server/kernels/threads.h"
#include "server/kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::bench {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using kernels::HWY_NAMESPACE::Fma;
using kernels::HWY_NAMESPACE::kFloats;
using kernels::HWY_NAMESPACE::Tag;
using kernels::HWY_NAMESPACE::Vec;

// Members with names of their own, because g++ 12 keeps an array of vectors in memory.
struct Chains {
  Vec v0, v1, v2, v3;
};

// Returns chains with different values. Of equal chains, the compiler would compute only one.
HWY_INLINE Chains Begin(float value) {
  const Tag d;
  return {hn::Set(d, value), hn::Set(d, value + 0.2f), hn::Set(d, value + 0.4f),
          hn::Set(d, value + 0.6f)};
}

HWY_INLINE void Step(Chains& c, Vec factor, Vec term) {
  c.v0 = Fma(c.v0, factor, term);
  c.v1 = Fma(c.v1, factor, term);
  c.v2 = Fma(c.v2, factor, term);
  c.v3 = Fma(c.v3, factor, term);
}

HWY_INLINE float Sum(const Chains& c) {
  return hn::GetLane(hn::SumOfLanes(Tag(), hn::Add(hn::Add(c.v0, c.v1), hn::Add(c.v2, c.v3))));
}

// The number of groups of chains that run at a time and hide each other's latency: as many as 16
// registers can hold besides the constants, or with 32 registers, enough for four units with a
// latency of four cycles.
constexpr int kGroups = HWY_TARGET == HWY_AVX2 ? 3 : 5;

// Computes chains of `steps` steps. Returns a result, so that the compiler cannot remove them.
float MultiplyAdd(int64_t steps) {
  const Vec factor = hn::Set(Tag(), 0.5f), term = hn::Set(Tag(), 1.0f);
  Chains a = Begin(1), b = Begin(2), c = Begin(3), d = Begin(4), e = Begin(5);
  for (int64_t i = 0; i < steps; ++i) {
    Step(a, factor, term);
    Step(b, factor, term);
    Step(c, factor, term);
    if constexpr (kGroups > 3) {
      Step(d, factor, term);
      Step(e, factor, term);
    }
  }
  return Sum(a) + Sum(b) + Sum(c) + Sum(d) + Sum(e);
}

int64_t FlopsOfStep() { return int64_t{kGroups} * 4 * kFloats * 2; }

constexpr int64_t kLineFloats = 16, kStepFloats = 4 * kLineFloats;
enum class Fetch { kNone, kNear, kPassing };

// Returns the sum of consecutive floats, read from kStreams places at a time. It is split into many
// sums so that no addition waits for the one before.
template <int kStreams, Fetch kFetch>
float SumOf(const float* HWY_RESTRICT from, int64_t floats, int64_t ahead) {
  const Vec zero = hn::Zero(Tag());
  Chains sums = {zero, zero, zero, zero};
  const int64_t stream = floats / kStreams;
  for (int64_t i = 0; i < stream; i += kStepFloats) {
    for (int s = 0; s < kStreams; ++s) {
      const float* at = from + s * stream + i;
      // This may be past the end of the buffer: a prefetch never faults.
      for (int64_t line = 0; kFetch != Fetch::kNone && line < kStepFloats; line += kLineFloats)
        __builtin_prefetch(at + ahead + line, 0, kFetch == Fetch::kNear ? 3 : 0);
      for (int64_t v = 0; v < kStepFloats; v += 4 * kFloats) {
        sums.v0 = hn::Add(sums.v0, hn::Load(Tag(), at + v));
        sums.v1 = hn::Add(sums.v1, hn::Load(Tag(), at + v + kFloats));
        sums.v2 = hn::Add(sums.v2, hn::Load(Tag(), at + v + 2 * kFloats));
        sums.v3 = hn::Add(sums.v3, hn::Load(Tag(), at + v + 3 * kFloats));
      }
    }
  }
  return Sum(sums);
}

template <int kStreams>
float SumOf(const Reading& reading, const float* from, int64_t floats) {
  const int64_t ahead = reading.ahead / static_cast<int64_t>(sizeof(float));
  if (ahead == 0) return SumOf<kStreams, Fetch::kNone>(from, floats, 0);
  if (reading.passing) return SumOf<kStreams, Fetch::kPassing>(from, floats, ahead);
  return SumOf<kStreams, Fetch::kNear>(from, floats, ahead);
}

float ReadFloats(const Reading& reading, const float* from, int64_t floats) {
  switch (reading.streams) {
    case 1:
      return SumOf<1>(reading, from, floats);
    case 2:
      return SumOf<2>(reading, from, floats);
    case 4:
      return SumOf<4>(reading, from, floats);
    default:
      return SumOf<8>(reading, from, floats);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scalpel::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace scalpel::bench {
namespace {

HWY_EXPORT(MultiplyAdd);
HWY_EXPORT(FlopsOfStep);
HWY_EXPORT(ReadFloats);

// More than any cache holds. The size of the last-level cache that the system reports is no guide:
// in a virtual machine it may be the sum of all caches of the host.
constexpr int64_t kBufferFloats = 128 << 20;
constexpr int64_t kPieceFloats = 256 << 10;  // of the buffer, read by one call
constexpr int64_t kPiecesOfThread = 16;      // many, so that others help a thread that is held up
constexpr int kTimes = 3;
constexpr size_t kKept = 4;

constexpr Reading kReadings[] = {
    {1, 0, false},    {2, 0, false},    {4, 0, false},     {8, 0, false},     {1, 1024, false},
    {1, 4096, false}, {1, 8192, false}, {1, 16384, false}, {1, 32768, false}, {2, 2048, false},
    {2, 8192, false}, {4, 1024, false}, {4, 4096, false},  {8, 1024, false},  {1, 2048, true},
    {1, 8192, true},  {2, 2048, true},  {4, 1024, true},   {4, 4096, true},
};

// Results are stored here so that the compiler cannot remove their computation.
std::atomic<float> sink;

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double MultiplyAdds(int64_t steps) {
  const int64_t pieces = kernels::Threads() * kPiecesOfThread;
  const auto begin = std::chrono::steady_clock::now();
  kernels::ParallelFor(pieces, 1, [&](int64_t first, int64_t last) {
    for (int64_t piece = first; piece < last; ++piece)
      sink = HWY_DYNAMIC_DISPATCH(MultiplyAdd)(steps);
  });
  return static_cast<double>(pieces * steps * HWY_DYNAMIC_DISPATCH(FlopsOfStep)()) /
         SecondsSince(begin);
}

// Returns the best rate of a few measurements of some 10 ms each.
double MultiplyAddsBest() {
  constexpr double kSeconds = 10e-3;
  constexpr int64_t kStepsOfProbe = 10000;
  const double probed = MultiplyAdds(kStepsOfProbe);  // also wakes the threads
  const double flops = static_cast<double>(HWY_DYNAMIC_DISPATCH(FlopsOfStep)());
  const double calls = static_cast<double>(kernels::Threads() * kPiecesOfThread);
  const int64_t steps = static_cast<int64_t>(probed * kSeconds / flops / calls);
  double best = 0;
  for (int i = 0; i < kTimes; ++i) best = std::max(best, MultiplyAdds(std::max<int64_t>(1, steps)));
  return best;
}

}  // namespace

Machine::Machine() : buffer_(kBufferFloats) {
  for (const Reading& reading : kReadings) kept_.push_back({reading, 0});
  for (int i = 0; i < kTimes; ++i)
    for (Tried& tried : kept_) Read(tried);
  std::sort(kept_.begin(), kept_.end(),
            [](const Tried& a, const Tried& b) { return a.best > b.best; });
  kept_.resize(kKept);
}

Limits Machine::Measure() {
  Limits limits = {.flops = MultiplyAddsBest(), .bytes = 0};
  for (Tried& tried : kept_) limits.bytes = std::max(limits.bytes, Read(tried));
  return limits;
}

std::string Machine::reading() const {
  const Reading& fastest =
      std::max_element(kept_.begin(), kept_.end(), [](const Tried& a, const Tried& b) {
        return a.best < b.best;
      })->reading;
  return absl::StrFormat(
      "%d stream%s a thread, %s", fastest.streams, fastest.streams == 1 ? "" : "s",
      fastest.ahead == 0 ? "nothing fetched ahead"
                         : absl::StrFormat("%d bytes fetched ahead%s", fastest.ahead,
                                           fastest.passing ? ", past the caches" : ""));
}

double Machine::Read(Tried& tried) const {
  const int64_t pieces = buffer_.size() / kPieceFloats;
  const auto begin = std::chrono::steady_clock::now();
  // A thread takes neighbouring pieces, as it takes neighbouring panels of a matrix.
  kernels::ParallelFor(pieces, pieces / (kernels::Threads() * kPiecesOfThread),
                       [&](int64_t first, int64_t last) {
                         for (int64_t piece = first; piece < last; ++piece)
                           sink = HWY_DYNAMIC_DISPATCH(ReadFloats)(
                               tried.reading, buffer_.data() + piece * kPieceFloats, kPieceFloats);
                       });
  const double bytes = static_cast<double>(buffer_bytes()) / SecondsSince(begin);
  tried.best = std::max(tried.best, bytes);
  return bytes;
}

}  // namespace scalpel::bench

#endif  // HWY_ONCE
