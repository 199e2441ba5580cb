// What the clean run of a prompt leaves behind: enough to resume it at any layer and position.

#ifndef SCALPEL_SERVER_MODEL_CLEAN_STATE_H_
#define SCALPEL_SERVER_MODEL_CLEAN_STATE_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace scalpel::model {

// Immutable once shared; its tensors are never written to. T tokens; `depth` of the model's layers
// are known: where a prompt's interventions began, its clean run ended.
struct CleanState {
  std::vector<int32_t> tokens;    // T
  std::vector<at::Tensor> resid;  // [depth + 1] of [T, d]: what goes into each block, and comes out
  std::vector<at::Tensor> k, v;   // [depth] of [T, H, dh]
  std::vector<at::Tensor> z;      // [depth] of [T, d]: the heads' outputs before the projection

  int32_t depth() const { return static_cast<int32_t>(k.size()); }
  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  // What the tensors keep alive.
  int64_t bytes() const {
    int64_t sum = 0;
    for (const auto* list : {&resid, &k, &v, &z}) {
      for (const at::Tensor& tensor : *list) sum += static_cast<int64_t>(tensor.storage().nbytes());
    }
    return sum;
  }
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_CLEAN_STATE_H_
