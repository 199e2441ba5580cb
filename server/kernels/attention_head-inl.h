// One attention head of a row: its keys and values as the register tile reads them, the scores of
// its queries, and the mix of its values. Include this file as vectors-inl.h.

#if defined(SCALPEL_SERVER_KERNELS_ATTENTION_HEAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALPEL_SERVER_KERNELS_ATTENTION_HEAD_INL_H_
#undef SCALPEL_SERVER_KERNELS_ATTENTION_HEAD_INL_H_
#else
#define SCALPEL_SERVER_KERNELS_ATTENTION_HEAD_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cstdint>

#include "server/kernels/attention.h"
#include "server/kernels/buffer.h"
#include "server/kernels/rows.h"
#include "server/kernels/tile-inl.h"
#include "server/kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {

inline constexpr int64_t kPanel = kTileVectors * kFloats;
// The softmax's denominator is added up in this many parts on every target, by position modulo
// kParts, so that its bits do not depend on the width of a vector.
inline constexpr int64_t kParts = 16;

constexpr int64_t RoundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Runs the narrowest tile that holds `columns` columns.
HWY_INLINE void RunColumns(int64_t columns, int64_t rows, const TileProduct& t) {
  if constexpr (kTileVectors > 2) {
    if (columns > 2 * kFloats) return RunTile<4>(rows, t);
  }
  if (columns > kFloats) return RunTile<2>(rows, t);
  RunTile<1>(rows, t);
}

// Returns the width of the narrowest tile that holds `columns` columns, at most kPanel.
inline int64_t TileColumns(int64_t columns) {
  const int64_t vectors = std::min(kTileVectors, (columns + kFloats - 1) / kFloats);
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(vectors))) * kFloats;
}

// Writes the transpose of a block of four by four floats to a panel.
HWY_INLINE void TransposeFour(const float* from, int64_t stride, float* to) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 4; ++j) to[j * kPanel + i] = from[i * stride + j];
  }
#else
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::FixedTag<float, 4> d;
  const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + stride),
             r2 = hn::LoadU(d, from + 2 * stride), r3 = hn::LoadU(d, from + 3 * stride);
  const auto even_low = hn::InterleaveLower(d, r0, r2), odd_low = hn::InterleaveLower(d, r1, r3),
             even_high = hn::InterleaveUpper(d, r0, r2), odd_high = hn::InterleaveUpper(d, r1, r3);
  hn::StoreU(hn::InterleaveLower(d, even_low, odd_low), d, to);
  hn::StoreU(hn::InterleaveUpper(d, even_low, odd_low), d, to + kPanel);
  hn::StoreU(hn::InterleaveLower(d, even_high, odd_high), d, to + 2 * kPanel);
  hn::StoreU(hn::InterleaveUpper(d, even_high, odd_high), d, to + 3 * kPanel);
#endif
}

// The working memory of one thread, reused for all heads that it computes.
struct Scratch {
  Buffer keys;     // transposed, in panels of [d_head, kPanel]
  Buffer values;   // [positions, padded d_head]; only if d_head is not a multiple of kPanel
  Buffer scores;   // [kTileRows, positions]
  Buffer queries;  // [kTileRows, d_head]; only if queries are scaled
  Buffer z;        // [kTileRows, padded d_head]; as `values`
};

inline float* Ensure(Buffer& buffer, int64_t floats) {
  if (buffer.size() < floats) buffer = Buffer(floats);
  return buffer.data();
}

// One head of a row, with its keys and values where the tiles can read them.
class Head {
 public:
  Head(const AttentionShape& shape, int64_t head, int64_t positions_max, Scratch& scratch)
      : shape_(shape),
        column_(head * shape.d_head),
        positions_(RoundUp(positions_max, std::max(kPanel, kParts))),
        narrow_(shape.d_head % kPanel != 0),
        columns_(narrow_ ? TileColumns(shape.d_head) : kPanel),
        scratch_(scratch) {
    Ensure(scratch.keys, positions_ * shape.d_head);
    Ensure(scratch.scores, kTileRows * positions_);
    Ensure(scratch.queries, kTileRows * shape.d_head);
    if (!narrow_) return;
    padded_ = RoundUp(shape.d_head, columns_);
    Ensure(scratch.values, positions_ * padded_);
    Ensure(scratch.z, kTileRows * padded_);
  }

  // Packs the keys of positions [first, first + count); `k[0]` is the one at `first`.
  void PackKeys(Rows k, int64_t first, int64_t count) {
    const int64_t dims = shape_.d_head;
    for (int64_t i = 0; i < count;) {
      const int64_t position = first + i;
      const bool four = position % 4 == 0 && count - i >= 4;
      float* to = scratch_.keys.data() + position / kPanel * kPanel * dims + position % kPanel;
      const float* from = k[i] + column_;
      int64_t d = 0;
      if (four) {
        for (; d + 4 <= dims; d += 4) TransposeFour(from + d, k.stride, to + d * kPanel);
      }
      for (const int64_t keys = four ? 4 : 1; d < dims; ++d) {
        for (int64_t j = 0; j < keys; ++j) to[d * kPanel + j] = from[j * k.stride + d];
      }
      i += four ? 4 : 1;
    }
  }

  // Likewise copies and pads the values of a narrow head. The tiles read those of others in place.
  void PackValues(Rows v, int64_t first, int64_t count) {
    if (!narrow_) return;
    for (int64_t i = 0; i < count; ++i)
      std::copy_n(v[i] + column_, shape_.d_head, scratch_.values.data() + (first + i) * padded_);
  }

  int64_t positions() const { return positions_; }
  float* scores() const { return scratch_.scores.data(); }

  // Writes the scores of queries [query, query + count) to `to`, [count, positions()]. Those of
  // keys after the last query are unspecified.
  void Scores(const AttentionRow& row, int64_t query, int64_t count, float* to) const {
    Rows q = {row.q[query - row.queries_first] + column_, row.q.stride};
    if (shape_.query_factor != 1) q = Scaled(q, count);
    HWY_ALIGN static constexpr float kZeros[kPanel] = {};
    const int64_t keys = query + count;
    for (int64_t key = 0; key < keys; key += kPanel) {
      RunColumns(keys - key, count,
                 {.x = q,
                  .w = {scratch_.keys.data() + key * shape_.d_head, kPanel},
                  .steps = shape_.d_head,
                  .from = {kZeros, 0},
                  .to = to + key,
                  .to_stride = positions_});
    }
    for (int64_t i = 0; i < count; ++i) Divide(to + i * positions_, query + i + 1);
  }

  // Writes the rows of z of queries [query, query + count), from their rows of `weights`.
  void Mix(const AttentionRow& row, int64_t query, int64_t count, Rows weights) const {
    float* z = row.z + (query - row.queries_first) * shape_.z_stride + column_;
    if (!narrow_) {
      for (int64_t c = 0; c < shape_.d_head; c += kPanel)
        MixColumns(row, query, count, weights, c, {z + c, shape_.z_stride}, z + c);
      return;
    }
    float* wide = scratch_.z.data();
    for (int64_t c = 0; c < padded_; c += columns_)
      MixColumns(row, query, count, weights, c, {wide + c, padded_}, wide + c);
    for (int64_t i = 0; i < count; ++i)
      std::copy_n(wide + i * padded_, shape_.d_head, z + i * shape_.z_stride);
  }

 private:
  Rows Scaled(Rows q, int64_t count) const {
    float* to = scratch_.queries.data();
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t d = 0; d < shape_.d_head; ++d)
        to[i * shape_.d_head + d] = q[i][d] * shape_.query_factor;
    }
    return {to, shape_.d_head};
  }

  // Divides the first `count` scores by both divisors. Multiplying by the reciprocal is faster; it
  // gives the same bits only for a power of two (as sqrt(64) = 8), where both are exact.
  void Divide(float* scores, int64_t count) const {
    namespace hn = hwy::HWY_NAMESPACE;
    const Tag d;
    for (const float divisor : {shape_.divisor, shape_.layer_divisor}) {
      if (divisor == 1) continue;
      const Vec by = hn::Set(d, divisor), factor = hn::Set(d, 1 / divisor);
      const bool exact = std::has_single_bit(static_cast<uint64_t>(divisor)) &&
                         static_cast<float>(static_cast<uint64_t>(divisor)) == divisor;
      for (int64_t i = 0; i < count; i += kFloats) {
        const Vec score = hn::LoadU(d, scores + i);
        hn::StoreU(exact ? hn::Mul(score, factor) : hn::Div(score, by), d, scores + i);
      }
    }
  }

  // Writes a tile of columns: first adds the keys that all queries see, then each of those that
  // only later queries see. What a query does not see may be infinite or NaN, so a weight of 0 is
  // no help.
  void MixColumns(const AttentionRow& row, int64_t query, int64_t count, Rows weights,
                  int64_t column, Rows z, float* to) const {
    HWY_ALIGN static constexpr float kZeros[kPanel] = {};
    Rows from = {kZeros, 0};
    const auto add = [&](int64_t begin, int64_t end, int64_t first_query) {
      const auto part = [&](Rows values, int64_t at, int64_t key, int64_t keys) {
        if (keys <= 0) return;
        RunColumns(columns_, count - first_query,
                   {.x = {weights[first_query] + key, weights.stride},
                    .w = {values[key - at] + column + (narrow_ ? 0 : column_), values.stride},
                    .steps = keys,
                    .from = {from.data + first_query * from.stride, from.stride},
                    .to = to + first_query * z.stride,
                    .to_stride = z.stride});
        from = z;
      };
      if (narrow_) return part({scratch_.values.data(), padded_}, 0, begin, end - begin);
      const int64_t middle = std::clamp(row.keys_first, begin, end);
      part(row.clean_v, 0, begin, middle - begin);
      part(row.v, row.keys_first, middle, end - middle);
    };
    add(0, query + 1, 0);
    for (int64_t i = 1; i < count; ++i) add(query + i, query + i + 1, i);
  }

  const AttentionShape& shape_;
  const int64_t column_;
  const int64_t positions_;  // rounded up to whole panels and parts
  const bool narrow_;        // d_head is not a multiple of kPanel
  const int64_t columns_;    // width of a tile of values
  int64_t padded_ = 0;       // d_head rounded up to whole tiles, if narrow
  Scratch& scratch_;
};

}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
