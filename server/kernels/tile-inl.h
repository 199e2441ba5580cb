// The register tile: the inner loop of every matrix product of the kernels. It keeps a few rows by
// a few vectors of columns of the result in registers while it goes through the products' common
// dimension. Include this file as vectors-inl.h.

#if defined(SCALPEL_SERVER_KERNELS_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALPEL_SERVER_KERNELS_TILE_INL_H_
#undef SCALPEL_SERVER_KERNELS_TILE_INL_H_
#else
#define SCALPEL_SERVER_KERNELS_TILE_INL_H_
#endif

#include <hwy/cache_control.h>

#include <cstdint>

#include "server/kernels/rows.h"
#include "server/kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {

// The largest tile, in rows and in vectors of columns. Of the 16 registers of AVX2 it keeps 12 for
// sums, and 24 of the 32 that the other targets have; the rest hold operands.
inline constexpr int64_t kTileRows = 6;
inline constexpr int64_t kTileVectors = HWY_TARGET == HWY_AVX2 ? 2 : 4;

// to[r][c] = from[r][c] + x[r][0] w[0][c] + x[r][1] w[1][c] + ..., one chain of fused multiply-adds
// in this order.
struct TileProduct {
  Rows x;         // [rows, steps]
  Rows w;         // [steps, columns]
  int64_t steps;  // >= 0
  Rows from;      // [rows, columns]; a stride of 0 gives all rows the same
  float* to;      // [rows, columns]; may be `from`
  int64_t to_stride;
  // Each step prefetches the next `lines` cache lines, 0, 1, 2 or 4, beginning at `ahead`.
  const float* ahead = nullptr;
  int64_t lines = 0;
};

// The sums of one row. Each vector is a member of its own because g++ 12 keeps an array of vectors
// in memory instead of registers, and spills parts of a nested struct at every step.
template <int kVectors>
struct RowTile;
template <>
struct RowTile<1> {
  Vec v0;
};
template <>
struct RowTile<2> {
  Vec v0, v1;
};
template <>
struct RowTile<4> {
  Vec v0, v1, v2, v3;
};

template <int kVectors>
HWY_INLINE RowTile<kVectors> LoadRow(const float* HWY_RESTRICT from) {
  namespace hn = hwy::HWY_NAMESPACE;
  const Tag d;
  RowTile<kVectors> row;
  row.v0 = hn::LoadU(d, from);
  if constexpr (kVectors > 1) row.v1 = hn::LoadU(d, from + kFloats);
  if constexpr (kVectors > 2) {
    row.v2 = hn::LoadU(d, from + 2 * kFloats);
    row.v3 = hn::LoadU(d, from + 3 * kFloats);
  }
  return row;
}

template <int kVectors>
HWY_INLINE void StoreRow(const RowTile<kVectors>& row, float* HWY_RESTRICT to) {
  namespace hn = hwy::HWY_NAMESPACE;
  const Tag d;
  hn::StoreU(row.v0, d, to);
  if constexpr (kVectors > 1) hn::StoreU(row.v1, d, to + kFloats);
  if constexpr (kVectors > 2) {
    hn::StoreU(row.v2, d, to + 2 * kFloats);
    hn::StoreU(row.v3, d, to + 3 * kFloats);
  }
}

template <int kVectors>
HWY_INLINE void Step(RowTile<kVectors>& row, float x, const RowTile<kVectors>& w) {
  const Vec broadcast = hwy::HWY_NAMESPACE::Set(Tag(), x);
  row.v0 = Fma(broadcast, w.v0, row.v0);
  if constexpr (kVectors > 1) row.v1 = Fma(broadcast, w.v1, row.v1);
  if constexpr (kVectors > 2) {
    row.v2 = Fma(broadcast, w.v2, row.v2);
    row.v3 = Fma(broadcast, w.v3, row.v3);
  }
}

// The product for a fixed number of rows, unrolled by hand. Only the first kRows rows are read or
// written.
template <int kVectors, int kRows, int kLines>
void TileOf(const TileProduct& t) {
  constexpr int V = kVectors;
  RowTile<V> r0 = LoadRow<V>(t.from[0]), r1, r2, r3, r4, r5;
  if constexpr (kRows > 1) r1 = LoadRow<V>(t.from[1]);
  if constexpr (kRows > 2) r2 = LoadRow<V>(t.from[2]);
  if constexpr (kRows > 3) r3 = LoadRow<V>(t.from[3]);
  if constexpr (kRows > 4) r4 = LoadRow<V>(t.from[4]);
  if constexpr (kRows > 5) r5 = LoadRow<V>(t.from[5]);
  const float *x0 = t.x[0], *x1 = t.x[1], *x2 = t.x[2], *x3 = t.x[3], *x4 = t.x[4], *x5 = t.x[5];
  const float *w = t.w.data, *ahead = t.ahead;
  const int64_t steps = t.steps, w_stride = t.w.stride;
  for (int64_t k = 0; k < steps; ++k, w += w_stride) {
    for (int line = 0; line < kLines; ++line) hwy::Prefetch(ahead + 16 * line);
    if constexpr (kLines > 0) ahead += 16 * kLines;
    const RowTile<V> b = LoadRow<V>(w);
    Step<V>(r0, x0[k], b);
    if constexpr (kRows > 1) Step<V>(r1, x1[k], b);
    if constexpr (kRows > 2) Step<V>(r2, x2[k], b);
    if constexpr (kRows > 3) Step<V>(r3, x3[k], b);
    if constexpr (kRows > 4) Step<V>(r4, x4[k], b);
    if constexpr (kRows > 5) Step<V>(r5, x5[k], b);
  }
  StoreRow<V>(r0, t.to);
  if constexpr (kRows > 1) StoreRow<V>(r1, t.to + t.to_stride);
  if constexpr (kRows > 2) StoreRow<V>(r2, t.to + 2 * t.to_stride);
  if constexpr (kRows > 3) StoreRow<V>(r3, t.to + 3 * t.to_stride);
  if constexpr (kRows > 4) StoreRow<V>(r4, t.to + 4 * t.to_stride);
  if constexpr (kRows > 5) StoreRow<V>(r5, t.to + 5 * t.to_stride);
}

template <int kVectors, int kLines>
HWY_INLINE void RunTileFetching(int64_t rows, const TileProduct& t) {
  switch (rows) {
    case 1:
      return TileOf<kVectors, 1, kLines>(t);
    case 2:
      return TileOf<kVectors, 2, kLines>(t);
    case 3:
      return TileOf<kVectors, 3, kLines>(t);
    case 4:
      return TileOf<kVectors, 4, kLines>(t);
    case 5:
      return TileOf<kVectors, 5, kLines>(t);
    case 6:
      return TileOf<kVectors, 6, kLines>(t);
  }
}

// Runs the product `t` for `rows` rows, 1 to kTileRows, of kVectors vectors.
template <int kVectors>
HWY_INLINE void RunTile(int64_t rows, const TileProduct& t) {
  switch (t.lines) {
    case 0:
      return RunTileFetching<kVectors, 0>(rows, t);
    case 1:
      return RunTileFetching<kVectors, 1>(rows, t);
    case 2:
      return RunTileFetching<kVectors, 2>(rows, t);
    default:
      return RunTileFetching<kVectors, 4>(rows, t);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
