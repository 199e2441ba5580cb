// The keys and values of a sequence that grows token by token, as the edits of each step left them.

#ifndef SCALPEL_SERVER_MODEL_KEY_CACHE_H_
#define SCALPEL_SERVER_MODEL_KEY_CACHE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "server/model/clean_state.h"
#include "server/model/config.h"
#include "server/model/tensor.h"

namespace scalpel::model {

// Memory for `capacity` positions in all layers. It is taken from the system as it is first written
// to, page by page, so that a sequence that ends early has used no more than it needed. Used by one
// thread at a time.
class KeyCache {
 public:
  // `capacity`: at least 1.
  KeyCache(const Gpt2Config& config, int64_t capacity);

  // What `capacity` positions take.
  static int64_t Bytes(const Gpt2Config& config, int64_t capacity);

  // Takes keys and values of a layer, [n, H, dh] each, as those of positions [first, first + n),
  // which fit. All of them are on one device.
  void Put(int32_t layer, int64_t first, const at::Tensor& keys, const at::Tensor& values);
  // Takes what is known of positions [0, length) of a clean run.
  void PutClean(const CleanState& clean, int64_t length);
  // Takes the first `length` positions of another one.
  void PutAll(const KeyCache& other, int64_t length);

  // The first positions as the beginning of a longer row (see Row::clean): `tokens` are theirs, and
  // every layer has been given them. It shows this object's memory, so it is of use until other
  // values are put there.
  std::shared_ptr<const CleanState> Beginning(absl::Span<const int32_t> tokens) const;

 private:
  const int64_t capacity_, n_head_, d_head_;
  std::vector<at::Tensor> keys_, values_;  // by layer, [capacity, H, dh]; made at the first Put
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_KEY_CACHE_H_
