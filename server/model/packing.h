// Where the rows that are being computed lie in the packed tensors.

#ifndef SCALPEL_SERVER_MODEL_PACKING_H_
#define SCALPEL_SERVER_MODEL_PACKING_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"

namespace scalpel::model {

// DeviceAttention runs in blocks of so many queries at absolute positions: what a query computes
// with depends on its position alone, not on its row's length, nor on which queries are computed.
inline constexpr int64_t kQueryBlock = 16;

// Activations of all rows lie packed, without padding, in one [tokens, ...] tensor. Rows of one
// shape lie side by side. Immutable.
class Packing {
 public:
  struct Entry {
    int32_t row;            // the caller's number
    int64_t first, length;  // positions [first, length) of the row are here
    int64_t offset = 0;     // of the first one
    int64_t tokens() const { return length - first; }
    int64_t first_block() const { return first / kQueryBlock; }
    int64_t blocks() const { return (length + kQueryBlock - 1) / kQueryBlock; }
  };

  Packing() = default;
  // Offsets are filled in.
  explicit Packing(std::vector<Entry> entries);

  int64_t tokens() const { return tokens_; }
  bool empty() const { return entries_.empty(); }
  // In order of their offsets: by number of blocks, then first block, then first position.
  const std::vector<Entry>& entries() const { return entries_; }
  // nullptr: the row is not here.
  const Entry* Find(int32_t row) const;
  // How many entries from `begin` on have one shape and lie side by side.
  size_t EqualFrom(size_t begin) const;
  // The slice of a packed tensor [tokens, ...]: a view [entry.tokens(), ...].
  static at::Tensor Slice(const at::Tensor& packed, const Entry& entry) {
    return packed.narrow(0, entry.offset, entry.tokens());
  }

 private:
  int64_t tokens_ = 0;
  std::vector<Entry> entries_;
  std::vector<int32_t> index_;  // by row, into entries_; -1: not here
};

// `packed`, which lies as `from` says, as `to` says. Rows that `from` lacks come from `clean`,
// [T, ...] by position; of the others, `to` has no position that `from` lacks.
at::Tensor Repack(const Packing& from, const at::Tensor& packed, const Packing& to,
                  absl::FunctionRef<at::Tensor(int32_t row)> clean);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_PACKING_H_
