#include "server/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/attention.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

#include "server/kernels/attention.h"
#include "server/kernels/buffer.h"
#include "server/kernels/math-inl.h"
#include "server/kernels/threads.h"
#include "server/kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr int64_t kPanel = kTileVectors * kFloats;
// The softmax's denominator is added up in this many parts on every target, by position modulo
// kParts, so that its bits do not depend on the width of a vector.
constexpr int64_t kParts = 16;
constexpr int64_t kPartVectors = kParts / kFloats;

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
int64_t TileColumns(int64_t columns) {
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

// ---- one head's keys and values -----------------------------------------------------------------

// The working memory of one thread, reused for all heads that it computes.
struct Scratch {
  Buffer keys;     // transposed, in panels of [d_head, kPanel]
  Buffer values;   // [positions, padded d_head]; only if d_head is not a multiple of kPanel
  Buffer scores;   // [kTileRows, positions]
  Buffer queries;  // [kTileRows, d_head]; only if queries are scaled
  Buffer z;        // [kTileRows, padded d_head]; as `values`
};

float* Ensure(Buffer& buffer, int64_t floats) {
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

// ---- the softmax of one query -------------------------------------------------------------------

// Writes the softmax of `count` scores to `weights`, which has room for whole parts and may be
// `scores`.
void Softmax(const float* scores, int64_t count, bool knocked_out, float* weights) {
  const Tag d;
  const int64_t whole = RoundUp(count, kParts);
  if (weights != scores) std::copy_n(scores, count, weights);
  std::fill(weights + count, weights + whole, kMinusInfinity);
  Vec most = hn::Set(d, kMinusInfinity);
  for (int64_t i = 0; i < whole; i += kFloats) most = hn::Max(most, hn::LoadU(d, weights + i));
  HWY_ALIGN float parts[kParts];
  hn::Store(most, d, parts);
  const float greatest = *std::max_element(parts, parts + kFloats);
  if (knocked_out && greatest == kMinusInfinity) {
    std::fill_n(weights, whole, 0.0f);
    return;
  }
  const Vec shift = hn::Set(d, greatest);
  for (int64_t v = 0; v < kPartVectors; ++v) {
    Vec sum = hn::Zero(d);
    for (int64_t i = v * kFloats; i < whole; i += kParts) {
      const Vec e = Exp(hn::Sub(hn::LoadU(d, weights + i), shift));
      hn::StoreU(e, d, weights + i);
      sum = hn::Add(sum, e);
    }
    hn::Store(sum, d, parts + v * kFloats);
  }
  for (int64_t step = kParts / 2; step > 0; step /= 2) {
    for (int64_t i = 0; i < step; ++i) parts[i] += parts[i + step];
  }
  const Vec factor = hn::Set(d, 1 / parts[0]);
  for (int64_t i = 0; i < whole; i += kFloats)
    hn::StoreU(hn::Mul(hn::LoadU(d, weights + i), factor), d, weights + i);
}

// ---- all heads of all rows ----------------------------------------------------------------------

// Groups neighbouring rows that share the keys of a clean run, which are then packed only once.
std::vector<absl::Span<const AttentionRow>> Groups(absl::Span<const AttentionRow> rows) {
  constexpr size_t kRowsMax = 8;  // small enough that there are groups for all threads
  std::vector<absl::Span<const AttentionRow>> groups;
  for (size_t begin = 0, end; begin < rows.size(); begin = end) {
    for (end = begin + 1; end < rows.size() && end - begin < kRowsMax; ++end) {
      if (rows[end].keys_first != rows[begin].keys_first || rows[end].keys_first == 0 ||
          rows[end].clean_k.data != rows[begin].clean_k.data)
        break;
    }
    groups.push_back(rows.subspan(begin, end - begin));
  }
  return groups;
}

// Calls body(head, head index, row, begin, end) for each head and row, with queries [begin, end),
// on several threads. The head's keys are packed if `keys`, its values if `values`.
template <class Body>
void ForEachHead(const AttentionShape& shape, absl::Span<const AttentionRow> rows, bool keys,
                 bool values, Body body) {
  const auto groups = Groups(rows);
  const int64_t items = static_cast<int64_t>(groups.size()) * shape.heads;
  // A single long row may have fewer heads than there are threads. Then its queries are split too.
  const int64_t shares = std::max<int64_t>(1, 2 * Threads() / std::max<int64_t>(1, items));
  ParallelFor(items * shares, 1, [&](int64_t begin, int64_t end) {
    static thread_local Scratch scratch;
    for (int64_t item = begin; item < end; ++item) {
      const auto& group = groups[item / shares / shape.heads];
      int64_t longest = 0;
      for (const AttentionRow& row : group) longest = std::max(longest, row.length);
      Head head(shape, item / shares % shape.heads, longest, scratch);
      if (keys) head.PackKeys(group[0].clean_k, 0, group[0].keys_first);
      if (values) head.PackValues(group[0].clean_v, 0, group[0].keys_first);
      for (const AttentionRow& row : group) {
        const int64_t own = row.length - row.keys_first, all = row.length - row.queries_first;
        if (keys) head.PackKeys(row.k, row.keys_first, own);
        if (values) head.PackValues(row.v, row.keys_first, own);
        const int64_t share = item % shares;
        body(head, item / shares % shape.heads, row, row.queries_first + share * all / shares,
             row.queries_first + (share + 1) * all / shares);
      }
    }
  });
}

// Calls body(first query, count) for queries [begin, end), at most kTileRows at a time.
template <class Body>
HWY_INLINE void ForEachTile(int64_t begin, int64_t end, Body body) {
  for (int64_t query = begin; query < end; query += kTileRows)
    body(query, std::min(kTileRows, end - query));
}

// Returns where the entries of `query` begin in `all`, a row's scores or pattern.
float* EntriesOf(const AttentionRow& row, float* all, int64_t head, int64_t query) {
  return all + (head * (row.length - row.queries_first) + query - row.queries_first) * row.length;
}

void AttendAll(const AttentionShape& shape, absl::Span<const AttentionRow> rows) {
  ForEachHead(shape, rows, /*keys=*/true, /*values=*/true,
              [](const Head& head, int64_t, const AttentionRow& row, int64_t begin, int64_t end) {
                float* scores = head.scores();
                ForEachTile(begin, end, [&](int64_t query, int64_t count) {
                  head.Scores(row, query, count, scores);
                  for (int64_t i = 0; i < count; ++i) {
                    float* of_query = scores + i * head.positions();
                    Softmax(of_query, query + i + 1, row.knocked_out, of_query);
                  }
                  head.Mix(row, query, count, {scores, head.positions()});
                });
              });
}

void ScoresAll(const AttentionShape& shape, absl::Span<const AttentionRow> rows) {
  ForEachHead(shape, rows, /*keys=*/true, /*values=*/false,
              [](const Head& head, int64_t h, const AttentionRow& row, int64_t begin, int64_t end) {
                ForEachTile(begin, end, [&](int64_t query, int64_t count) {
                  head.Scores(row, query, count, head.scores());
                  for (int64_t i = 0; i < count; ++i) {
                    float* to = EntriesOf(row, row.scores, h, query + i);
                    std::copy_n(head.scores() + i * head.positions(), query + i + 1, to);
                    std::fill(to + query + i + 1, to + row.length, kMinusInfinity);
                  }
                });
              });
}

void PatternAll(const AttentionShape& shape, absl::Span<const AttentionRow> rows) {
  ForEachHead(shape, rows, /*keys=*/false, /*values=*/false,
              [](const Head& head, int64_t h, const AttentionRow& row, int64_t begin, int64_t end) {
                for (int64_t query = begin; query < end; ++query) {
                  Softmax(EntriesOf(row, row.scores, h, query), query + 1, row.knocked_out,
                          head.scores());
                  float* to = EntriesOf(row, row.pattern, h, query);
                  std::copy_n(head.scores(), query + 1, to);
                  std::fill(to + query + 1, to + row.length, 0.0f);
                }
              });
}

void MixAll(const AttentionShape& shape, absl::Span<const AttentionRow> rows) {
  ForEachHead(shape, rows, /*keys=*/false, /*values=*/true,
              [](const Head& head, int64_t h, const AttentionRow& row, int64_t begin, int64_t end) {
                ForEachTile(begin, end, [&](int64_t query, int64_t count) {
                  head.Mix(row, query, count, {EntriesOf(row, row.pattern, h, query), row.length});
                });
              });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace scalpel::kernels {
namespace {

HWY_EXPORT(AttendAll);
HWY_EXPORT(ScoresAll);
HWY_EXPORT(PatternAll);
HWY_EXPORT(MixAll);

}  // namespace

void Attend(const AttentionShape& shape, absl::Span<const AttentionRow> rows) {
  HWY_DYNAMIC_DISPATCH(AttendAll)(shape, rows);
}

void AttentionScores(const AttentionShape& shape, absl::Span<const AttentionRow> rows) {
  HWY_DYNAMIC_DISPATCH(ScoresAll)(shape, rows);
}

void AttentionPattern(const AttentionShape& shape, absl::Span<const AttentionRow> rows) {
  HWY_DYNAMIC_DISPATCH(PatternAll)(shape, rows);
}

void AttentionMix(const AttentionShape& shape, absl::Span<const AttentionRow> rows) {
  HWY_DYNAMIC_DISPATCH(MixAll)(shape, rows);
}

}  // namespace scalpel::kernels

#endif  // HWY_ONCE
