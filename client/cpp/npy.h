// Writes the .npy format, version 1.0 (numpy.lib.format), as numpy.save does.

#ifndef SCALPEL_CLIENT_CPP_NPY_H_
#define SCALPEL_CLIENT_CPP_NPY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "proto/scalpel/v1/tensor.pb.h"

namespace scalpel::client {

// Returns the magic string, version and header of a C-ordered array; the size is a multiple of 64
// bytes. bfloat16, which numpy lacks, is declared as float32.
std::string NpyHeader(v1::DataType dtype, const std::vector<int64_t>& shape);

// Returns the elements in the type that the header declares: bfloat16 is widened to float32, which
// is exact, and other types are unchanged. `data`: little-endian elements.
std::string NpyData(v1::DataType dtype, std::string data);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_NPY_H_
