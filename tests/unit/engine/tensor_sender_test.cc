#include "server/engine/tensor_sender.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <utility>
#include <vector>

namespace scalpel::engine {
namespace {

struct NoSink final : EventSink {
  void Push(Event) override {}
};

// What is sent of `tensor` as `dtype`, as 16-bit words.
std::vector<uint16_t> Words(const at::Tensor& tensor, v1::DataType dtype) {
  NoSink sink;
  TensorSender sender(sink);
  v1::TensorHeader header;
  header.set_dtype(dtype);
  const TensorEvent event = sender.Prepare(std::move(header), tensor);
  std::vector<uint16_t> words(event.bytes.size() / 2);
  std::memcpy(words.data(), event.bytes.data(), event.bytes.size());
  return words;
}

// Enough for every vector that a CPU has, and for what is left behind the last.
TEST(TensorSender, AllNanOfBfloat16AreOne) {
  const at::Tensor x = at::full({71}, std::numeric_limits<float>::quiet_NaN());
  x.slice(0, 0, 71, 2).neg_();
  x[5] = 1.5f;
  const std::vector<uint16_t> words = Words(x, v1::DATA_TYPE_BFLOAT16);
  ASSERT_EQ(words.size(), 71u);
  for (size_t i = 0; i < words.size(); ++i) EXPECT_EQ(words[i], i == 5 ? 0x3fc0 : 0x7fc0) << i;
}

}  // namespace
}  // namespace scalpel::engine
