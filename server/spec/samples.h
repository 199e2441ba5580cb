// The input of a probe's statistics.

#ifndef SCALPEL_SERVER_SPEC_SAMPLES_H_
#define SCALPEL_SERVER_SPEC_SAMPLES_H_

#include <cstdint>

#include "server/model/tensor.h"

namespace scalpel::spec {

struct Samples {
  // The activations, [kept, reduced] float32, contiguous: a row for each combination of indices of
  // the kept axes, with all that the statistics reduce. Neither length is 0. Within a row the
  // site's innermost axis varies fastest.
  at::Tensor x;
  // The clean run's activations, in the shape of `x`; may be undefined if no statistic needs them.
  at::Tensor clean;
  int64_t inner;  // length of the site's innermost axis
};

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_SAMPLES_H_
