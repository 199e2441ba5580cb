// The .npy format, version 1.0, as numpy.save writes it.

#ifndef SCALPEL_CLIENT_CPP_NPY_H_
#define SCALPEL_CLIENT_CPP_NPY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "proto/scalpel/v1/tensor.pb.h"

namespace scalpel::client {

// Magic, version and header of a C-ordered array: a multiple of 64 bytes. bfloat16, which numpy
// lacks, is declared as float32.
std::string NpyHeader(v1::DataType dtype, const std::vector<int64_t>& shape);

// The elements as the header declares them: bfloat16 widened to float32, which is exact; everything
// else as it is.
std::string NpyData(v1::DataType dtype, std::string data);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_NPY_H_
