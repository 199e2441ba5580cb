// Causal multi-head attention (Vaswani et al., 2017) over a batch of prompts, in float32.

#ifndef SCALPEL_SERVER_KERNELS_ATTENTION_H_
#define SCALPEL_SERVER_KERNELS_ATTENTION_H_

#include <cstdint>

#include "absl/types/span.h"
#include "server/kernels/rows.h"

namespace scalpel::kernels {

// One row of the batch: a prompt of `length` tokens. Its keys and values at positions [0,
// keys_first) come from a clean run, which several rows may share; those at [keys_first, length)
// are its own. Neighbouring rows that share a clean run are faster, because its keys are packed for
// them once.
//
// A matrix has one row for each position; the d_head columns of a head begin at head * d_head. The
// row owns none of the memory that it points to.
struct AttentionRow {
  int64_t length;
  int64_t queries_first;  // queries [queries_first, length) are computed; >= keys_first
  int64_t keys_first;
  Rows q;                 // [length - queries_first, heads * d_head]
  Rows k, v;              // [length - keys_first, heads * d_head]
  Rows clean_k, clean_v;  // [keys_first, heads * d_head]
  float* z;               // output, [length - queries_first, heads * d_head]
  // Attention scores and weights, contiguous [heads, length - queries_first, length]. Only the
  // functions below that name them use them.
  float* scores = nullptr;
  float* pattern = nullptr;
  // Whether the scores of a query may all be minus infinity, as after an attention knockout. The
  // weights of such a query are 0; without this flag they would be NaN.
  bool knocked_out = false;
};

// What all rows have in common. A score is (query_factor * q) . k / divisor / layer_divisor.
struct AttentionShape {
  int64_t heads, d_head;
  int64_t z_stride;  // floats from one row of `z` to the next
  float query_factor = 1, divisor = 1, layer_divisor = 1;
};

// All four functions fix the order of their sums. A score is one chain of fused multiply-adds over
// the head's dimensions, and an element of z is one over the keys in order of position; the
// denominator of the softmax is added up in sixteen parts, by position modulo sixteen. So the bits
// of a query's output depend only on the query and its keys, and AttentionScores, AttentionPattern
// and AttentionMix in turn write the same z as Attend.
//
// They run on all threads of ParallelFor. No two rows may write to the same memory.

// Writes z. Does not use `scores` or `pattern`.
void Attend(const AttentionShape& shape, absl::Span<const AttentionRow> rows);

// Writes `scores`. The score of a key at a later position than its query is minus infinity.
void AttentionScores(const AttentionShape& shape, absl::Span<const AttentionRow> rows);
// Writes `pattern`: for each query the softmax of `scores` over the keys up to its own position,
// and 0 for later keys.
void AttentionPattern(const AttentionShape& shape, absl::Span<const AttentionRow> rows);
// Writes z from `pattern`. Does not read the weights of keys at later positions than their query.
void AttentionMix(const AttentionShape& shape, absl::Span<const AttentionRow> rows);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_ATTENTION_H_
