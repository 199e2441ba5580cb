// Causal attention over packed rows by libtorch's operations, in blocks of queries, for devices
// that server/kernels does not support.

#ifndef SCALPEL_SERVER_MODEL_DEVICE_ATTENTION_H_
#define SCALPEL_SERVER_MODEL_DEVICE_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/model/attention.h"
#include "server/model/config.h"
#include "server/model/packing.h"
#include "server/model/tensor.h"

namespace scalpel::model {

// Has the interface and the contract of Attention; all arguments of the constructor but
// `clean_keys` must outlive the object.
//
// The operations always see matrices of one shape for a position: kQueryBlock queries, beginning at
// a multiple of kQueryBlock, times the keys up to the end of the block, with zeros where a row has
// none. So the bits of a query do not depend on which queries are computed, on whether they are
// visited, or on later positions of its row; nor on the other rows, unless the device's matrix
// product depends on the size of its batch.
class DeviceAttention {
 public:
  DeviceAttention(const Gpt2Config& config, int32_t layer, const Packing& keys,
                  const Packing& queries, const at::Tensor& qkv,
                  absl::FunctionRef<at::Tensor(int32_t row, int which)> clean_keys);

  at::Tensor Run();
  at::Tensor RunVisited(const AttentionVisits& visits);

 private:
  // Neighbouring rows that have equally many blocks and whose queries begin in the same block, so
  // that one operation can compute them all. Its size is bounded, and so is its memory.
  struct Group {
    size_t begin, count;          // range of queries_.entries()
    int64_t first_block, blocks;  // queries: blocks [first_block, blocks); keys: [0, blocks)
    at::Tensor q, k, v;           // [count * H, positions, dh]
  };

  void MakeGroups();
  // Copies the group's queries, keys and values out of `qkv` and the clean runs.
  void Gather(Group& group, const at::Tensor& qkv,
              absl::FunctionRef<at::Tensor(int32_t row, int which)> clean_keys) const;
  // Returns the scaled and masked scores of one block, [count * H, kQueryBlock, keys].
  at::Tensor Scores(const Group& group, int64_t block) const;
  // Writes the weights of one block times the values to its part of `mixed`, [count * H, queries,
  // dh].
  void Mix(const Group& group, int64_t block, const at::Tensor& pattern, at::Tensor& mixed) const;
  // Copies `mixed` to the group's rows of `z`, [queries_.tokens(), d].
  void Scatter(const Group& group, const at::Tensor& mixed, at::Tensor& z) const;
  // Returns the view of one block of a group's scores or weights, [count * H, queries, keys].
  at::Tensor BlockOf(const Group& group, const at::Tensor& whole, int64_t block) const;
  // Returns the view of one row of `wholes`, which has such a tensor for each group: [H, its
  // queries, keys], with the keys that pad it.
  at::Tensor RowOf(const std::vector<at::Tensor>& wholes, int32_t row) const;

  const Gpt2Config& config_;
  const int32_t layer_;
  const Packing& keys_;
  const Packing& queries_;
  const at::Tensor future_;  // [kQueryBlock, kQueryBlock] bool: the key is after the query
  std::vector<Group> groups_;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_DEVICE_ATTENTION_H_
