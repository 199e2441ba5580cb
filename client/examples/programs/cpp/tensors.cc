#include "tensors.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <cstring>
#include <iomanip>
#include <sstream>
#include <vector>

namespace v1 = scalpel::v1;

// The wire is little-endian, and so is every machine that this has met.
static_assert(std::endian::native == std::endian::little);

namespace {

// 0 for a type that is not known.
uint64_t ElementBytes(v1::DataType dtype) {
  switch (dtype) {
    case v1::DATA_TYPE_UNSPECIFIED:  // By the contract: float32.
    case v1::DATA_TYPE_FLOAT32:
      return 4;
    case v1::DATA_TYPE_FLOAT16:
    case v1::DATA_TYPE_BFLOAT16:
      return 2;
    default:
      return 0;
  }
}

// IEEE 754 binary16.
float Float16(uint16_t bits) {
  const uint32_t sign = (bits >> 15) << 31;
  const uint32_t exponent = bits >> 10 & 31;
  const uint32_t fraction = bits & 1023;
  if (exponent == 0) {  // Zero, or subnormal: a multiple of 2^-24.
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(fraction * 0x1p-24f));
  }
  const uint32_t widened = exponent == 31 ? 255 : exponent + 127 - 15;
  return std::bit_cast<float>(sign | widened << 23 | fraction << 13);
}

template <typename Element, typename Widen>
std::vector<float> Elements(const std::string& data, Widen widen) {
  std::vector<Element> elements(data.size() / sizeof(Element));
  std::memcpy(elements.data(), data.data(), data.size());
  std::vector<float> values(elements.size());
  std::transform(elements.begin(), elements.end(), values.begin(), widen);
  return values;
}

std::vector<float> Decode(v1::DataType dtype, const std::string& data) {
  switch (dtype) {
    case v1::DATA_TYPE_FLOAT16:
      return Elements<uint16_t>(data, Float16);
    case v1::DATA_TYPE_BFLOAT16:  // The upper half of a float32.
      return Elements<uint16_t>(data,
                                [](uint32_t bits) { return std::bit_cast<float>(bits << 16); });
    default:
      return Elements<float>(data, [](float value) { return value; });
  }
}

std::string Sha256(const std::vector<float>& values) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  if (EVP_Digest(values.data(), values.size() * sizeof(float), digest.data(), &size, EVP_sha256(),
                 nullptr) != 1) {
    throw std::runtime_error("OpenSSL cannot compute SHA-256");
  }
  std::ostringstream hex;
  hex << std::hex << std::setfill('0');
  for (unsigned int i = 0; i < size; ++i) hex << std::setw(2) << static_cast<int>(digest[i]);
  return hex.str();
}

std::string Describe(const v1::TensorHeader& header, int chunks, const std::vector<float>& values) {
  std::string dtype = "float32";
  if (header.dtype() != v1::DATA_TYPE_UNSPECIFIED) {
    dtype = v1::DataType_Name(header.dtype()).substr(std::strlen("DATA_TYPE_"));
    std::transform(dtype.begin(), dtype.end(), dtype.begin(),
                   [](unsigned char letter) { return std::tolower(letter); });
  }
  std::ostringstream line;
  line << "tensor " << header.name() << (header.clean() ? " clean " : " edited ") << dtype;
  for (int i = 0; i < header.shape_size(); ++i) line << (i == 0 ? " " : "x") << header.shape(i);
  line << " chunks " << chunks << " sha256 " << Sha256(values);
  return line.str();
}

}  // namespace

std::optional<std::string> Assembler::Add(const v1::TensorChunk& chunk) {
  if (chunk.has_header()) Begin(chunk.header());
  if (!header_ || chunk.tensor_id() != header_->tensor_id()) {
    throw BrokenStream("a chunk of tensor " + std::to_string(chunk.tensor_id()) +
                       ", which has not begun");
  }
  if (chunk.offset() != data_.size()) {
    throw BrokenStream("a chunk at byte " + std::to_string(chunk.offset()) + ", not at " +
                       std::to_string(data_.size()));
  }
  // Grows with what has arrived, not with what a header promises.
  data_ += chunk.data();
  ++chunks_;
  if (data_.size() > header_->size_bytes()) {
    throw BrokenStream("more data than " + std::to_string(header_->size_bytes()) + " bytes");
  }
  if (data_.size() < header_->size_bytes()) return std::nullopt;
  std::string line = Describe(*header_, chunks_, Decode(header_->dtype(), data_));
  header_.reset();
  return line;
}

void Assembler::Finish() const {
  if (!header_) return;
  throw BrokenStream("the stream ended inside tensor " + std::to_string(header_->tensor_id()));
}

void Assembler::Begin(const v1::TensorHeader& header) {
  if (header_ || header.tensor_id() != begun_) {
    throw BrokenStream("tensor " + std::to_string(header.tensor_id()) +
                       " begins where it must not");
  }
  uint64_t size = ElementBytes(header.dtype());
  for (const int64_t length : header.shape()) size *= static_cast<uint64_t>(length);
  if (size == 0 || size != header.size_bytes()) {
    throw BrokenStream(std::to_string(header.size_bytes()) + " bytes, where type and shape make " +
                       std::to_string(size));
  }
  ++begun_;
  header_ = header;
  chunks_ = 0;
  data_.clear();
}
