// Puts the tensors of a response stream together.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "scalpel/v1/tensor.pb.h"

// The chunks do not follow the contract.
class BrokenStream : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Takes chunks in the order in which they come.
class Assembler {
 public:
  // Returns the tensor's line when it is complete. Throws BrokenStream.
  std::optional<std::string> Add(const scalpel::v1::TensorChunk& chunk);

  // Throws BrokenStream if a tensor is not complete.
  void Finish() const;

 private:
  void Begin(const scalpel::v1::TensorHeader& header);

  uint32_t begun_ = 0;  // Tensors, complete or not.
  std::optional<scalpel::v1::TensorHeader> header_;
  int chunks_ = 0;
  std::string data_;
};
