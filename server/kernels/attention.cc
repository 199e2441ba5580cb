#include "server/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/attention.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "server/kernels/attention.h"
#include "server/kernels/attention_head-inl.h"
#include "server/kernels/math-inl.h"
#include "server/kernels/threads.h"
#include "server/kernels/tile-inl.h"
#include "server/kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr int64_t kPartVectors = kParts / kFloats;

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
