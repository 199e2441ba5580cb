#include "server/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/linear.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>

#include "server/kernels/linear.h"
#include "server/kernels/threads.h"
#include "server/kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// The register tile: so many rows, and vectors of columns. With 16 registers of AVX2, twelve hold
// the tile; with 32, twenty-four.
constexpr int64_t kTileRows = 6;
constexpr int64_t kTileVectors = HWY_TARGET == HWY_AVX2 ? 2 : 4;
constexpr int64_t kVector = kFloats;
constexpr int64_t kPanel = kTileVectors * kVector;
constexpr int64_t kLineFloats = 16;               // of a cache line
constexpr int64_t kLines = kPanel / kLineFloats;  // of a step

// Inputs of a block of a panel: it stays in the first-level cache while all rows pass it.
constexpr int64_t kBlockInputs = kPanel == 64 ? 128 : 256;
// Rows that pass a panel at a time: their inputs stay in the second-level cache.
constexpr int64_t kRowsMax = 96;

// The accumulators of one row. Named, since g++ 12 keeps an array of them in memory.
struct RowTile {
  Vec v0, v1, v2, v3;
};

template <int kVectors>
HWY_INLINE RowTile LoadRow(const float* HWY_RESTRICT from) {
  const Tag d;
  RowTile row;
  row.v0 = hn::LoadU(d, from);
  row.v1 = hn::LoadU(d, from + kVector);
  if constexpr (kVectors == 4) {
    row.v2 = hn::LoadU(d, from + 2 * kVector);
    row.v3 = hn::LoadU(d, from + 3 * kVector);
  }
  return row;
}

template <int kVectors>
HWY_INLINE void StoreRow(const RowTile& row, float* HWY_RESTRICT to) {
  const Tag d;
  hn::StoreU(row.v0, d, to);
  hn::StoreU(row.v1, d, to + kVector);
  if constexpr (kVectors == 4) {
    hn::StoreU(row.v2, d, to + 2 * kVector);
    hn::StoreU(row.v3, d, to + 3 * kVector);
  }
}

template <int kVectors>
HWY_INLINE void Step(RowTile& row, float x, const RowTile& w) {
  const Vec broadcast = hn::Set(Tag(), x);
  row.v0 = Fma(broadcast, w.v0, row.v0);
  row.v1 = Fma(broadcast, w.v1, row.v1);
  if constexpr (kVectors == 4) {
    row.v2 = Fma(broadcast, w.v2, row.v2);
    row.v3 = Fma(broadcast, w.v3, row.v3);
  }
}

// kRows rows of a panel over `inputs` inputs. `from`: what the sums begin with, [kRows, kPanel] at
// from_stride (0: the same for all, the bias). At each step the next kFetched cache lines of `ahead`
// are fetched.
template <int kRows, int kFetched>
HWY_INLINE void Tile(const float* HWY_RESTRICT x, int64_t x_stride, const float* HWY_RESTRICT w,
                     int64_t inputs, const float* from, int64_t from_stride, float* to,
                     int64_t to_stride, const float* ahead) {
  constexpr int V = kTileVectors;
  RowTile r0, r1, r2, r3, r4, r5;
  r0 = LoadRow<V>(from);
  if constexpr (kRows > 1) r1 = LoadRow<V>(from + from_stride);
  if constexpr (kRows > 2) r2 = LoadRow<V>(from + 2 * from_stride);
  if constexpr (kRows > 3) r3 = LoadRow<V>(from + 3 * from_stride);
  if constexpr (kRows > 4) r4 = LoadRow<V>(from + 4 * from_stride);
  if constexpr (kRows > 5) r5 = LoadRow<V>(from + 5 * from_stride);
  const float *x1 = x + x_stride, *x2 = x + 2 * x_stride, *x3 = x + 3 * x_stride,
              *x4 = x + 4 * x_stride, *x5 = x + 5 * x_stride;
  for (int64_t k = 0; k < inputs; ++k) {
    if constexpr (kFetched > 0) hwy::Prefetch(ahead + k * kFetched * kLineFloats);
    if constexpr (kFetched > 1) hwy::Prefetch(ahead + k * kFetched * kLineFloats + kLineFloats);
    if constexpr (kFetched > 2) {
      hwy::Prefetch(ahead + k * kFetched * kLineFloats + 2 * kLineFloats);
      hwy::Prefetch(ahead + k * kFetched * kLineFloats + 3 * kLineFloats);
    }
    const RowTile b = LoadRow<V>(w + k * kPanel);
    Step<V>(r0, x[k], b);
    if constexpr (kRows > 1) Step<V>(r1, x1[k], b);
    if constexpr (kRows > 2) Step<V>(r2, x2[k], b);
    if constexpr (kRows > 3) Step<V>(r3, x3[k], b);
    if constexpr (kRows > 4) Step<V>(r4, x4[k], b);
    if constexpr (kRows > 5) Step<V>(r5, x5[k], b);
  }
  StoreRow<V>(r0, to);
  if constexpr (kRows > 1) StoreRow<V>(r1, to + to_stride);
  if constexpr (kRows > 2) StoreRow<V>(r2, to + 2 * to_stride);
  if constexpr (kRows > 3) StoreRow<V>(r3, to + 3 * to_stride);
  if constexpr (kRows > 4) StoreRow<V>(r4, to + 4 * to_stride);
  if constexpr (kRows > 5) StoreRow<V>(r5, to + 5 * to_stride);
}

template <int kFetched>
void TileOf(int64_t rows, const float* x, int64_t x_stride, const float* w, int64_t inputs,
            const float* from, int64_t from_stride, float* to, int64_t to_stride,
            const float* ahead) {
  switch (rows) {
#define SCALPEL_CASE(n)                                                                    \
  case n:                                                                                  \
    return Tile<n, kFetched>(x, x_stride, w, inputs, from, from_stride, to, to_stride, ahead)
    SCALPEL_CASE(1);
    SCALPEL_CASE(2);
    SCALPEL_CASE(3);
    SCALPEL_CASE(4);
    SCALPEL_CASE(5);
    SCALPEL_CASE(6);
#undef SCALPEL_CASE
  }
}

void TileOf(int64_t lines, int64_t rows, const float* x, int64_t x_stride, const float* w,
            int64_t inputs, const float* from, int64_t from_stride, float* to, int64_t to_stride,
            const float* ahead) {
  switch (lines) {
    case 0:
      return TileOf<0>(rows, x, x_stride, w, inputs, from, from_stride, to, to_stride, ahead);
    case 1:
      return TileOf<1>(rows, x, x_stride, w, inputs, from, from_stride, to, to_stride, ahead);
    case 2:
      return TileOf<2>(rows, x, x_stride, w, inputs, from, from_stride, to, to_stride, ahead);
    default:
      return TileOf<4>(rows, x, x_stride, w, inputs, from, from_stride, to, to_stride, ahead);
  }
}

// How many tiles so many rows make: as few as can be, but four where three would do, since four
// share the fetching of the next block better.
int64_t TilesOf(int64_t rows) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  return tiles == 3 && kLines == 4 ? 4 : tiles;
}

// What happens behind the chains, to a part of y that is still in the cache.
void Finish(const Product& product, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  for (int64_t r = row; r < row + rows; ++r) {
    float* y = product.y + r * product.y_stride + column;
    if (product.activation != Activation::kLinear) Activate(product.activation, y, y, columns);
    if (product.add.data != nullptr)
      Add(y, product.add.data + r * product.add.stride + column, y, columns);
  }
}

// The last panel where it has fewer columns than its width: a tile at a time, by way of a buffer.
void NarrowPanel(const Product& p, int64_t panel, int64_t row_begin, int64_t row_end) {
  const int64_t inputs = p.last - p.first, column = panel * kPanel,
                columns = p.matrix.out() - column;
  HWY_ALIGN float tile[kTileRows * kPanel];
  HWY_ALIGN static constexpr float kZeros[kPanel] = {};
  const float* bias = p.with_bias ? p.matrix.bias(panel) : kZeros;
  const float* w = p.matrix.panel(panel) + p.first * kPanel;
  for (int64_t row = row_begin; row < row_end; row += kTileRows) {
    const int64_t rows = std::min(kTileRows, row_end - row);
    TileOf<0>(rows, p.x.data + row * p.x.stride, p.x.stride, w, inputs, bias, 0, tile, kPanel,
                  nullptr);
    for (int64_t r = 0; r < rows; ++r)
      std::copy_n(tile + r * kPanel, columns, p.y + (row + r) * p.y_stride + column);
  }
  Finish(p, row_begin, row_end - row_begin, column, columns);
}

// Some rows through one panel, block after block; meanwhile the next block is fetched, a share of it
// by each tile.
void WholePanel(const Product& p, int64_t panel, int64_t row_begin, int64_t row_end) {
  HWY_ALIGN static constexpr float kZeros[kPanel] = {};
  const int64_t inputs = p.last - p.first, column = panel * kPanel;
  const float* bias = p.with_bias ? p.matrix.bias(panel) : kZeros;
  const float* w = p.matrix.panel(panel) + p.first * kPanel;
  const int64_t all = row_end - row_begin, tiles = TilesOf(all);
  // Cache lines of a step that each of the first tiles fetches.
  const int64_t lines = std::max<int64_t>(1, kLines / (tiles >= 4 ? 4 : tiles >= 2 ? 2 : 1));
  for (int64_t k = 0; k < inputs; k += kBlockInputs) {
    const int64_t block = std::min(kBlockInputs, inputs - k);
    const float* ahead = w + (k + kBlockInputs) * kPanel;  // at the end, the next panel's first
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t row = row_begin + tile * all / tiles,
                    rows = row_begin + (tile + 1) * all / tiles - row;
      float* y = p.y + row * p.y_stride + column;
      TileOf(tile * lines < kLines ? lines : 0, rows, p.x.data + row * p.x.stride + k, p.x.stride,
             w + k * kPanel, block, k == 0 ? bias : y, k == 0 ? 0 : p.y_stride, y, p.y_stride,
             ahead + tile * lines * block * kLineFloats);
    }
  }
  Finish(p, row_begin, row_end - row_begin, column, kPanel);
}

void MultiplyAll(const Product& p) {
  const int64_t panels = p.matrix.panels();
  const int64_t blocks = (p.rows + kRowsMax - 1) / kRowsMax, pieces = panels * blocks;
  const auto one = [&](int64_t piece) {
    const int64_t panel = piece % panels, block = piece / panels;
    const int64_t begin = block * p.rows / blocks, end = (block + 1) * p.rows / blocks;
    if ((panel + 1) * kPanel <= p.matrix.out()) {
      WholePanel(p, panel, begin, end);
    } else {
      NarrowPanel(p, panel, begin, end);
    }
  };
  // Neighbours go to one thread, whose fetching ahead reaches into the next panel; but several
  // pieces for each thread, since one may be held up.
  constexpr int64_t kPiecesOfThread = 6;
  ParallelFor(pieces, pieces / (Threads() * kPiecesOfThread), [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) one(piece);
  });
}

int64_t PanelWidth() { return kPanel; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace scalpel::kernels {
namespace {

HWY_EXPORT(MultiplyAll);
HWY_EXPORT(PanelWidth);

}  // namespace

PackedMatrix::PackedMatrix(const float* weight, int64_t in, int64_t out, int64_t in_stride,
                           int64_t out_stride, const float* bias)
    : in_(in), out_(out), width_(HWY_DYNAMIC_DISPATCH(PanelWidth)()) {
  weight_ = Buffer(panels() * in * width_);
  bias_ = Buffer(panels() * width_);
  if (bias != nullptr) std::copy_n(bias, out, bias_.data());
  ParallelFor(panels(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t columns = std::min(width_, out - p * width_);
      float* to = weight_.data() + p * in * width_;
      const float* from = weight + p * width_ * out_stride;
      for (int64_t i = 0; i < in; ++i) {
        for (int64_t o = 0; o < columns; ++o)
          to[i * width_ + o] = from[i * in_stride + o * out_stride];
      }
    }
  });
}

void Multiply(const Product& product) {
  Product whole = product;
  if (whole.last == 0) whole.last = whole.matrix.in();
  HWY_DYNAMIC_DISPATCH(MultiplyAll)(whole);
}

}  // namespace scalpel::kernels

#endif  // HWY_ONCE
