#include "client/cpp/npy.h"

#include "absl/strings/str_cat.h"

namespace scalpel::client {

std::string NpyHeader(v1::DataType dtype, const std::vector<int64_t>& shape) {
  std::string dimensions;
  for (const int64_t length : shape) absl::StrAppend(&dimensions, length, ", ");
  // In Python a tuple of one element needs a trailing comma; longer tuples are written without.
  if (shape.size() == 1) dimensions.resize(dimensions.size() - 1);
  if (shape.size() > 1) dimensions.resize(dimensions.size() - 2);
  std::string header = absl::StrCat("{'descr': '", dtype == v1::DATA_TYPE_FLOAT16 ? "<f2" : "<f4",
                                    "', 'fortran_order': False, 'shape': (", dimensions, "), }");
  constexpr size_t kPreamble = 10;
  constexpr size_t kAlignment = 64;
  const size_t used = kPreamble + header.size() + 1;
  header.append((kAlignment - used % kAlignment) % kAlignment, ' ');
  header += '\n';
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 0xFF);
  file += static_cast<char>(header.size() >> 8);
  return file + header;
}

std::string NpyData(v1::DataType dtype, std::string data) {
  if (dtype != v1::DATA_TYPE_BFLOAT16) return data;
  std::string widened;
  widened.reserve(data.size() * 2);
  for (size_t i = 0; i + 1 < data.size(); i += 2) {
    widened.append(2, '\0');  // the lower half of a little-endian float32
    widened.append(data, i, 2);
  }
  return widened;
}

}  // namespace scalpel::client
