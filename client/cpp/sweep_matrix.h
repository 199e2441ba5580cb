// The numbers of a sweep, gathered from its variants.

#ifndef SCALPEL_CLIENT_CPP_SWEEP_MATRIX_H_
#define SCALPEL_CLIENT_CPP_SWEEP_MATRIX_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "proto/scalpel/v1/sweep.pb.h"

namespace scalpel::client {

// A metric of one number, in one prompt, over all variants.
struct SweepMatrix {
  int32_t metric = 0;
  std::string name;
  int32_t prompt = 0;
  std::vector<int32_t> shape;  // the lengths of the grid's axes; of a list, its length
  std::vector<double> values;  // row-major; NaN for a variant that did not come
};

// By metric, then prompt. Empty where the axes do not make as many cells as there are variants.
std::vector<SweepMatrix> GatherMatrices(const v1::SweepStarted& started,
                                        const std::map<int32_t, v1::VariantResult>& variants);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SWEEP_MATRIX_H_
