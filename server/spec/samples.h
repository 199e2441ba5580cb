// What a probe's statistics are computed from.

#ifndef SCALPEL_SERVER_SPEC_SAMPLES_H_
#define SCALPEL_SERVER_SPEC_SAMPLES_H_

#include <cstdint>

#include "server/model/tensor.h"

namespace scalpel::spec {

struct Samples {
  // One row for each kept index: [kept, reduced] float32, contiguous, none of both zero. Within a
  // row the site's innermost axis runs fastest. `clean`: the same of the clean run; undefined
  // unless a statistic needs it.
  at::Tensor x, clean;
  int64_t inner;  // length of the site's innermost axis
};

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_SAMPLES_H_
