#include "server/kernels/activation.h"

namespace scalpel::kernels {

void Activate(Activation, const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = x[i];
}

}  // namespace scalpel::kernels
