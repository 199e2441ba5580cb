// The activations of a prompt's clean run (one without interventions) from which another run of the
// prompt can be resumed at any layer and position.

#ifndef SCALPEL_SERVER_MODEL_CLEAN_STATE_H_
#define SCALPEL_SERVER_MODEL_CLEAN_STATE_H_

#include <cstdint>
#include <vector>

#include "server/model/tensor.h"

namespace scalpel::model {

// Immutable once shared: its tensors are never written to, so that threads may read it at once.
// Holds T tokens and the first `depth` layers. `depth` may be less than the model's: a clean run
// ends at the layer where the interventions on its prompt begin.
struct CleanState {
  std::vector<int32_t> tokens;    // T
  std::vector<at::Tensor> resid;  // depth + 1 of [T, d]: the input of each block, then the output
  std::vector<at::Tensor> k, v;   // depth of [T, H, dh]
  std::vector<at::Tensor> z;      // depth of [T, d]: the heads' outputs before the projection

  int32_t depth() const { return static_cast<int32_t>(k.size()); }
  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  // Bytes of the storage that the tensors keep alive, which may be larger than the tensors.
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
