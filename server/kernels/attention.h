// Causal attention (Vaswani et al., 2017) of rows that lie packed.

#ifndef SCALPEL_SERVER_KERNELS_ATTENTION_H_
#define SCALPEL_SERVER_KERNELS_ATTENTION_H_

#include <cstdint>

#include "absl/types/span.h"
#include "server/kernels/rows.h"

namespace scalpel::kernels {

// One row: a prompt of `length` tokens, of which the keys of positions [keys_first, length) are its
// own and those before a clean run's, which rows may share. Rows side by side with the same
// `clean_k` are faster than otherwise.
//
// Matrices are by position, and a head's d_head columns begin at head * d_head.
struct AttentionRow {
  int64_t length;
  int64_t queries_first;  // queries [queries_first, length) are computed; at least keys_first
  int64_t keys_first;
  Rows q;                 // [length - queries_first, heads * d_head]
  Rows k, v;              // [length - keys_first, heads * d_head]
  Rows clean_k, clean_v;  // [keys_first, heads * d_head]
  float* z;               // [length - queries_first, heads * d_head]
  // Scores and weights, [heads, length - queries_first, length], for the functions that say so.
  float* scores = nullptr;
  float* pattern = nullptr;
  // Whether a query may have no key left, its scores all minus infinity: it attends to nothing
  // then.
  bool knocked_out = false;
};

// What is the same for all rows. A score is (query_factor * q) . k / divisor / layer_divisor.
struct AttentionShape {
  int64_t heads, d_head;
  int64_t z_stride;
  float query_factor = 1, divisor = 1, layer_divisor = 1;
};

// A score is one chain of fused multiply-adds in the order of the head's dimensions, a query's
// output one in the order of its keys; the sum under the softmax is of sixteen parts, by position
// modulo sixteen. So the bits of a query depend on its own keys alone, and the three steps one
// after the other give those of Attend. Uses all threads. Rows must not overlap in what they write.

// Writes z.
void Attend(const AttentionShape& shape, absl::Span<const AttentionRow> rows);

// Writes `scores`; minus infinity where a key is behind its query.
void AttentionScores(const AttentionShape& shape, absl::Span<const AttentionRow> rows);
// Writes `pattern`, the softmax of `scores` over the keys up to the query; 0 behind.
void AttentionPattern(const AttentionShape& shape, absl::Span<const AttentionRow> rows);
// Writes z from `pattern`, of which it reads the keys up to the query.
void AttentionMix(const AttentionShape& shape, absl::Span<const AttentionRow> rows);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_ATTENTION_H_
