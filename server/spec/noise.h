// Gaussian noise from a counter-based generator: the value of an element depends only on the seed
// and its coordinates, not on the order of computation or on what else is selected.

#ifndef SCALPEL_SERVER_SPEC_NOISE_H_
#define SCALPEL_SERVER_SPEC_NOISE_H_

#include <cstdint>

#include "server/model/tensor.h"
#include "server/spec/selection.h"

namespace scalpel::spec {

// What the noise of one place depends on besides the coordinates within the place.
struct NoiseKey {
  uint64_t seed;
  int32_t intervention;  // index in the request
  int32_t layer;         // or model::kNoLayer
  int32_t prompt;        // index in the request, below 2^16
};

// Returns mean + std * z for the elements of `region`, float32 on the CPU, of shape region.shape().
// `inner` is the length of the last axis of the whole site.
//
// z is standard normal, by Philox 4x32-10 (Salmon et al., 2011) and the transform of Box and Muller
// (1958). The key is the seed, and the counter is
//   (element / 4, position, (layer + 1) | prompt << 16, intervention),
// where `position` is that of the query at ATTN_SCORES and PATTERN, and `element` numbers the
// elements that a position has in the whole site, selected or not. The four outputs of a counter
// make four normals, 0 and 1 from outputs 0 and 1, 2 and 3 from outputs 2 and 3; element % 4 is the
// number of the normal.
at::Tensor NoiseTensor(const NoiseKey& key, double mean, double std, const SiteEntry& site,
                       const Region& region, int64_t inner);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_NOISE_H_
