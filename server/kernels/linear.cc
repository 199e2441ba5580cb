#include "server/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/linear.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>

#include "server/kernels/linear.h"
#include "server/kernels/threads.h"
#include "server/kernels/tile-inl.h"
#include "server/kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// A panel is as wide as the register tile.
constexpr int64_t kPanel = kTileVectors * kFloats;
constexpr int64_t kLineFloats = 16;               // floats in a cache line
constexpr int64_t kLines = kPanel / kLineFloats;  // cache lines of weights that a step reads

// The inputs of one block of a panel. A block, at most 32 KiB, stays in the level-1 cache while all
// rows are multiplied by it.
constexpr int64_t kBlockInputs = kPanel == 64 ? 128 : 256;
// The number of rows that are multiplied by a panel at a time. Their inputs stay in the level-2
// cache.
constexpr int64_t kRowsMax = 96;

// Returns into how many tiles `rows` are split: as few as possible, but 4 instead of 3 where a step
// prefetches 4 cache lines, so that each tile fetches one of them.
int64_t TilesOf(int64_t rows) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  return tiles == 3 && kLines == 4 ? 4 : tiles;
}

// Applies the activation and adds `product.add` to a block of y while it is still in the cache.
void Finish(const Product& product, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  for (int64_t r = row; r < row + rows; ++r) {
    float* y = product.y + r * product.y_stride + column;
    if (product.activation != Activation::kLinear) Activate(product.activation, y, y, columns);
    if (product.add.data != nullptr) Add(y, product.add[r] + column, y, columns);
  }
}

// Returns the initial values of the sums of a panel.
const float* BiasOf(const PackedMatrix& m, const Product& p, int64_t panel) {
  HWY_ALIGN static constexpr float kZeros[kPanel] = {};
  return p.with_bias ? m.bias(panel) : kZeros;
}

// Computes the columns of a last panel that is not full. The tiles write to a buffer, since y has
// no room for a whole panel.
void NarrowPanel(const PackedMatrix& m, const Product& p, int64_t panel, int64_t row_begin,
                 int64_t row_end) {
  const int64_t inputs = p.last - p.first, column = panel * kPanel, columns = m.out() - column;
  HWY_ALIGN float tile[kTileRows * kPanel];
  const float* w = m.panel(panel) + p.first * kPanel;
  for (int64_t row = row_begin; row < row_end; row += kTileRows) {
    const int64_t rows = std::min(kTileRows, row_end - row);
    RunTile<kTileVectors>(rows, {.x = {p.x[row], p.x.stride},
                                 .w = {w, kPanel},
                                 .steps = inputs,
                                 .from = {BiasOf(m, p, panel), 0},
                                 .to = tile,
                                 .to_stride = kPanel});
    for (int64_t r = 0; r < rows; ++r)
      std::copy_n(tile + r * kPanel, columns, p.y + (row + r) * p.y_stride + column);
  }
  Finish(p, row_begin, row_end - row_begin, column, columns);
}

// Computes rows [row_begin, row_end) of the columns of a full panel, one block of inputs after the
// other. Meanwhile the next block is prefetched; each of the first tiles fetches its share.
void WholePanel(const PackedMatrix& m, const Product& p, int64_t panel, int64_t row_begin,
                int64_t row_end) {
  const int64_t inputs = p.last - p.first, column = panel * kPanel;
  const float* w = m.panel(panel) + p.first * kPanel;
  const int64_t all = row_end - row_begin, tiles = TilesOf(all);
  const int64_t lines = std::max<int64_t>(1, kLines / (tiles >= 4 ? 4 : tiles >= 2 ? 2 : 1));
  for (int64_t k = 0; k < inputs; k += kBlockInputs) {
    const int64_t block = std::min(kBlockInputs, inputs - k);
    // After the last block this is the beginning of the next panel.
    const float* ahead = w + (k + kBlockInputs) * kPanel;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t row = row_begin + tile * all / tiles,
                    rows = row_begin + (tile + 1) * all / tiles - row;
      float* y = p.y + row * p.y_stride + column;
      RunTile<kTileVectors>(rows,
                            {.x = {p.x[row] + k, p.x.stride},
                             .w = {w + k * kPanel, kPanel},
                             .steps = block,
                             .from = k == 0 ? Rows{BiasOf(m, p, panel), 0} : Rows{y, p.y_stride},
                             .to = y,
                             .to_stride = p.y_stride,
                             .ahead = ahead + tile * lines * block * kLineFloats,
                             .lines = tile * lines < kLines ? lines : 0});
    }
  }
  Finish(p, row_begin, row_end - row_begin, column, kPanel);
}

void MultiplyAll(const PackedMatrix& m, const Product& p) {
  const int64_t panels = m.panels();
  const int64_t blocks = (p.rows + kRowsMax - 1) / kRowsMax, pieces = panels * blocks;
  const auto one = [&](int64_t piece) {
    const int64_t panel = piece % panels, block = piece / panels;
    const int64_t begin = block * p.rows / blocks, end = (block + 1) * p.rows / blocks;
    if ((panel + 1) * kPanel <= m.out()) {
      WholePanel(m, p, panel, begin, end);
    } else {
      NarrowPanel(m, p, panel, begin, end);
    }
  };
  // A thread takes neighbouring panels, since the prefetching at the end of one reaches into the
  // next. It takes them in several pieces, so that the others can help if it is held up.
  constexpr int64_t kPiecesOfThread = 6;
  ParallelFor(pieces, pieces / (Threads() * kPiecesOfThread), [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) one(piece);
  });
}

PackedMatrix::Target ThisTarget() { return {&MultiplyAll, kPanel}; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace scalpel::kernels {
namespace {

HWY_EXPORT(ThisTarget);

}  // namespace

PackedMatrix::PackedMatrix(const float* weight, int64_t in, int64_t out, int64_t in_stride,
                           int64_t out_stride, const float* bias)
    : target_(HWY_DYNAMIC_DISPATCH(ThisTarget)()), in_(in), out_(out) {
  weight_ = Buffer(panels() * in * panel_width());
  bias_ = Buffer(panels() * panel_width());
  if (bias != nullptr) std::copy_n(bias, out, bias_.data());
  ParallelFor(panels(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t width = panel_width(), columns = std::min(width, out - p * width);
      float* to = weight_.data() + p * in * width;
      const float* from = weight + p * width * out_stride;
      for (int64_t i = 0; i < in; ++i) {
        for (int64_t o = 0; o < columns; ++o)
          to[i * width + o] = from[i * in_stride + o * out_stride];
      }
    }
  });
}

void Multiply(const PackedMatrix& matrix, Product product) {
  if (product.last == 0) product.last = matrix.in();
  matrix.target_.multiply(matrix, product);
}

}  // namespace scalpel::kernels

#endif  // HWY_ONCE
