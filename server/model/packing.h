// The layout of the rows of a forward pass in its packed tensors.

#ifndef SCALPEL_SERVER_MODEL_PACKING_H_
#define SCALPEL_SERVER_MODEL_PACKING_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "server/model/tensor.h"

namespace scalpel::model {

// The number of queries that DeviceAttention computes at a time. Blocks begin at multiples of it,
// so that the shapes that a query is computed with depend only on its position.
inline constexpr int64_t kQueryBlock = 16;

// Says where each row's activations are in a [tokens, ...] tensor that holds all rows without
// padding. Rows with equal positions are neighbours. Immutable; const methods are thread-safe.
class Packing {
 public:
  struct Entry {
    int32_t row;            // the caller's number of the row, >= 0
    int64_t first, length;  // the tensor holds positions [first, length) of the row
    int64_t offset = 0;     // index of position `first` in the tensor
    int64_t tokens() const { return length - first; }
    int64_t first_block() const { return first / kQueryBlock; }
    int64_t blocks() const { return (length + kQueryBlock - 1) / kQueryBlock; }
  };

  Packing() = default;
  // Sorts the entries, one for each row, and computes their offsets.
  explicit Packing(std::vector<Entry> entries);

  int64_t tokens() const { return tokens_; }
  bool empty() const { return entries_.empty(); }
  // The entries in order of their offsets: by number of blocks, then first block, first position,
  // length and row.
  const std::vector<Entry>& entries() const { return entries_; }
  // Returns the entry of `row`, or nullptr if there is none.
  const Entry* Find(int32_t row) const;
  // Returns how many consecutive entries, beginning with entries()[begin], hold the same positions.
  size_t EqualFrom(size_t begin) const;
  // Returns the view of one row in a packed tensor, [entry.tokens(), ...].
  static at::Tensor Slice(const at::Tensor& packed, const Entry& entry) {
    return packed.narrow(0, entry.offset, entry.tokens());
  }

 private:
  int64_t tokens_ = 0;
  std::vector<Entry> entries_;
  std::vector<int32_t> index_;  // by row, into entries_; -1: not here
};

// Copies `packed`, whose layout is `from`, to a tensor whose layout is `to`. A row that `from`
// lacks is copied from clean(row), [T, ...] by position; of any other row, `from` must have all
// positions that `to` has.
at::Tensor Repack(const Packing& from, const at::Tensor& packed, const Packing& to,
                  absl::FunctionRef<at::Tensor(int32_t row)> clean);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_PACKING_H_
