// Causal attention over packed rows by libtorch, in blocks of queries, for devices that have no
// kernels of ours.

#ifndef SCALPEL_SERVER_MODEL_DEVICE_ATTENTION_H_
#define SCALPEL_SERVER_MODEL_DEVICE_ATTENTION_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/model/attention.h"
#include "server/model/config.h"
#include "server/model/packing.h"

namespace scalpel::model {

// As Attention, whose arguments and results these are.
//
// Always by the same kernels on the same shapes, whoever looks: a block of kQueryBlock queries at
// an absolute position, and the keys up to its end, zeros where a row has none. So the bits of a
// query depend neither on the rows around it, nor on which queries are computed, nor on what comes
// behind it in its row.
class DeviceAttention {
 public:
  DeviceAttention(const Gpt2Config& config, int32_t layer, const Packing& keys,
                  const Packing& queries, const at::Tensor& qkv,
                  absl::FunctionRef<at::Tensor(int32_t row, int which)> clean_keys);

  at::Tensor Run();
  at::Tensor RunVisited(const AttentionVisits& visits);

 private:
  // Rows with equally many blocks whose queries begin in the same one. Bounded, so that what one
  // needs in memory is.
  struct Group {
    size_t begin, count;          // in queries.entries()
    int64_t first_block, blocks;  // of queries; keys are from 0 to blocks
    at::Tensor q, k, v;           // [count * H, positions, dh]
  };

  void MakeGroups();
  void Gather(Group& group, const at::Tensor& qkv,
              absl::FunctionRef<at::Tensor(int32_t row, int which)> clean_keys) const;
  // Of one block, [count * H, kQueryBlock, keys]; scaled, causal.
  at::Tensor Scores(const Group& group, int64_t block) const;
  // Writes weights times values of one block into `mixed`, [count * H, queries, dh].
  void Mix(const Group& group, int64_t block, const at::Tensor& pattern, at::Tensor& mixed) const;
  // Writes `mixed` into the group's rows of `z`.
  void Scatter(const Group& group, const at::Tensor& mixed, at::Tensor& z) const;
  // The part of `whole`, [count * H, queries, keys] of a group, that is one block.
  at::Tensor BlockOf(const Group& group, const at::Tensor& whole, int64_t block) const;
  // The view of one row of such at its own queries, with the keys that pad it.
  at::Tensor RowOf(const std::vector<at::Tensor>& wholes, int32_t row) const;

  const Gpt2Config& config_;
  const int32_t layer_;
  const Packing& keys_;
  const Packing& queries_;
  const at::Tensor future_;  // [kQueryBlock, kQueryBlock]: a key behind its query
  std::vector<Group> groups_;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_DEVICE_ATTENTION_H_
