// Counter-based Gaussian noise: every element's value follows from its coordinates alone.

#ifndef SCALPEL_SERVER_SPEC_NOISE_H_
#define SCALPEL_SERVER_SPEC_NOISE_H_

#include <cstdint>

#include "server/model/tensor.h"
#include "server/spec/selection.h"

namespace scalpel::spec {

struct NoiseKey {
  uint64_t seed;
  int32_t intervention;  // index in the request
  int32_t layer;         // or model::kNoLayer
  int32_t prompt;        // index in the request, below 2^16
};

// mean + std * z for the elements of `region`, float32 on the CPU, of shape region.shape(). z is
// standard normal: Philox 4x32-10 (Salmon et al., 2011) with the seed as its key, and as its
// counter
//   (element / 4, position, (layer + 1) | prompt << 16, intervention),
// where `element` numbers the elements that a position (a query, at ATTN_SCORES and PATTERN) has in
// the whole site, selected or not. Box and Muller's transform makes two normals of outputs 0 and 1,
// and two of outputs 2 and 3; element % 4 says which is taken. `inner`: length of the last axis of
// the whole site.
at::Tensor NoiseTensor(const NoiseKey& key, double mean, double std, const SiteEntry& site,
                       const Region& region, int64_t inner);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_NOISE_H_
