// What leaves without a copy, what is copied, and that nothing that left ever changes.

#include "server/engine/tensor_sender.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "server/engine/logits.h"
#include "server/model/tensor.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using test::Answer;
using test::Ask;
using test::SameBits;

constexpr v1::DataType kDefault = v1::DATA_TYPE_UNSPECIFIED;

std::string_view BytesOf(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

// The storage that an event's bytes lie in.
const at::Tensor& Owner(const TensorEvent& event) {
  return *static_cast<const at::Tensor*>(event.owner.get());
}

TEST(ToHost, BorrowsATensorThatWillNotChange) {
  const at::Tensor logits = at::rand({3, 7});
  EXPECT_TRUE(ToHost(logits, kDefault, Future::kFinal).is_same(logits));
  EXPECT_TRUE(ToHost(logits, v1::DATA_TYPE_FLOAT32, Future::kFinal).is_same(logits));
}

TEST(ToHost, CopiesATensorThatMayChange) {
  const at::Tensor resid = at::rand({3, 7});
  const at::Tensor before = resid.clone(), host = ToHost(resid, kDefault, Future::kChanges);
  EXPECT_FALSE(host.is_alias_of(resid));
  resid.zero_();
  EXPECT_TRUE(SameBits(host, before));
}

TEST(ToHost, CopiesAPartOfALargerStorage) {
  const at::Tensor whole = at::rand({4, 5});
  for (const at::Tensor& part :
       {whole.narrow(0, 0, 3), whole.narrow(0, 3, 1), whole.select(0, 1)}) {
    const at::Tensor host = ToHost(part, kDefault, Future::kFinal);
    EXPECT_FALSE(host.is_alias_of(whole));
    EXPECT_EQ(host.storage().nbytes(), host.nbytes());
    EXPECT_TRUE(SameBits(host, part));
  }
}

TEST(ToHost, CopiesToConvertTypeOrLayout) {
  const at::Tensor tensor = at::rand({4, 5});
  const at::Tensor turned = ToHost(tensor.t(), kDefault, Future::kFinal);
  EXPECT_TRUE(turned.is_contiguous());
  EXPECT_TRUE(SameBits(turned, tensor.t()));
  const at::Tensor half = ToHost(tensor, v1::DATA_TYPE_FLOAT16, Future::kFinal);
  EXPECT_TRUE(SameBits(half, tensor.to(at::kHalf)));
}

// Enough for every vector that a CPU has, and for what is left behind the last.
TEST(ToHost, HasOnlyOneNanInBfloat16) {
  const at::Tensor x = at::full({71}, std::numeric_limits<float>::quiet_NaN());
  x.slice(0, 0, 71, 2).neg_();
  x[5] = 1.5f;
  for (const at::Tensor& host :
       {ToHost(x, v1::DATA_TYPE_BFLOAT16, Future::kFinal),
        BatchToHost({x, x}, v1::DATA_TYPE_BFLOAT16, Future::kFinal).select(0, 1)}) {
    const auto* words = static_cast<const uint16_t*>(host.const_data_ptr());
    for (int i = 0; i < 71; ++i) EXPECT_EQ(words[i], i == 5 ? 0x3fc0 : 0x7fc0) << i;
  }
}

TEST(BatchToHost, ABatchOfOneIsItsRow) {
  const at::Tensor row = at::rand({2, 3, 3});
  const at::Tensor final = BatchToHost({row}, kDefault, Future::kFinal);
  EXPECT_TRUE(final.is_alias_of(row));
  EXPECT_TRUE(SameBits(final, row.unsqueeze(0)));
  EXPECT_FALSE(BatchToHost({row}, kDefault, Future::kChanges).is_alias_of(row));
}

TEST(BatchToHost, ABatchIsItsRowsInOrder) {
  const at::Tensor packed = at::rand({6, 4});
  const std::vector<at::Tensor> rows = {packed.narrow(0, 3, 3), packed.narrow(0, 0, 3)};
  for (const Future future : {Future::kFinal, Future::kChanges}) {
    EXPECT_TRUE(SameBits(BatchToHost(rows, kDefault, future), at::stack(rows)));
    EXPECT_TRUE(SameBits(BatchToHost(rows, v1::DATA_TYPE_BFLOAT16, future),
                         at::stack(rows).to(at::kBFloat16)));
  }
}

TEST(TensorSender, EventsDescribeTheirTensorAndKeepItAlive) {
  EventStream stream;
  TensorSender sender(stream);
  at::Tensor tensor = at::rand({2, 5});
  const at::Tensor same_values = tensor.clone();
  const void* const data = tensor.const_data_ptr();
  sender.Send(sender.Prepare({}, ToHost(tensor, kDefault, Future::kFinal)));
  tensor.reset();
  sender.Send(sender.Prepare({}, ToHost(same_values, v1::DATA_TYPE_FLOAT16, Future::kFinal)));

  const TensorEvent first = *stream.Pop()->tensor, second = *stream.Pop()->tensor;
  EXPECT_EQ(first.bytes.data(), data);
  EXPECT_EQ(first.bytes, BytesOf(same_values));
  EXPECT_EQ(first.header.dtype(), v1::DATA_TYPE_FLOAT32);
  EXPECT_EQ(first.header.size_bytes(), 40u);
  EXPECT_EQ(first.header.tensor_id(), 0u);
  EXPECT_EQ(second.header.dtype(), v1::DATA_TYPE_FLOAT16);
  EXPECT_EQ(second.header.size_bytes(), 20u);
  EXPECT_EQ(second.header.tensor_id(), 1u);
  EXPECT_EQ(sender.bytes_sent(), 60);
}

// ---- in a forward pass --------------------------------------------------------------------------

constexpr char kOutputs[] =
    "output_attentions: true output_hidden_states: true "
    "captures { name: \"pattern\" place { site: SITE_PATTERN } } "
    "captures { name: \"heads\" place { site: SITE_PATTERN where { heads: 1 } } } "
    "captures { name: \"before\" place { site: SITE_PATTERN } moment: MOMENT_BEFORE } "
    "captures { name: \"post\" place { site: SITE_RESID_POST } } "
    "logits { full {} positions { range {} } }";

// A run of 16 tokens, for which attention needs no padding.
v1::RunRequest Long(const std::string& text) {
  v1::RunRequest request = test::FromText<v1::RunRequest>(text);
  v1::TokenIds& ids = *request.add_prompts()->mutable_token_ids();
  for (int32_t i = 0; i < 16; ++i) ids.add_ids(i);
  return request;
}

TEST(Borrowing, NoEventKeepsMoreAliveThanItSends) {
  for (const Answer& answer : {Ask(kOutputs), Ask(Long(kOutputs))}) {
    for (const Event& event : answer.events) {
      if (!event.tensor) continue;
      EXPECT_EQ(Owner(*event.tensor).storage().nbytes(), event.tensor->header.size_bytes())
          << event.tensor->header.ShortDebugString();
    }
  }
}

TEST(Borrowing, LaterEditsDoNotChangeSentTensors) {
  const std::string edits =
      "interventions { place { site: SITE_RESID_PRE where { layers: [1, 2] } } scale { factor: 0 } "
      "}"
      "interventions { place { site: SITE_PATTERN where { layers: 1 } } scale { factor: 2 } }";
  for (const bool alone : {false, true}) {
    const Answer plain = alone ? Ask(Long(kOutputs)) : Ask(kOutputs);
    const Answer edited = alone ? Ask(Long(edits + kOutputs)) : Ask(edits + kOutputs);
    // What block 0 gave, and the pattern before its edit, are those of a run without edits.
    EXPECT_TRUE(SameBits(plain.Tensor("post", 0, 0), edited.Tensor("post", 0, 0)));
    EXPECT_TRUE(SameBits(plain.Tensor("block_outputs[0][0]", 0, 0),
                         edited.Tensor("block_outputs[0][0]", 0, 0)));
    EXPECT_TRUE(SameBits(plain.Tensor("hidden_states[1]"), edited.Tensor("hidden_states[1]")));
    const at::Tensor before = edited.Tensor("before", 0, 1);
    EXPECT_TRUE(SameBits(edited.Tensor("pattern", 0, 1), before * 2));
    EXPECT_TRUE(SameBits(edited.Tensor("block_outputs[1][1]", 0, 1), before * 2));
    EXPECT_TRUE(SameBits(edited.Tensor("heads", 0, 1), before.narrow(0, 1, 1) * 2));
  }
}

TEST(Borrowing, BlockOutputsAndHiddenStatesAreOneTensorInMemory) {
  const Answer answer = Ask("output_hidden_states: true block_outputs { layers: 0 }");
  const void *tuple = nullptr, *entry = nullptr;
  for (const Event& event : answer.events) {
    if (!event.tensor || event.tensor->header.prompts(0) != 0) continue;
    if (event.tensor->header.name() == "block_outputs[0][0]") tuple = event.tensor->bytes.data();
    if (event.tensor->header.name() == "hidden_states[1]") entry = event.tensor->bytes.data();
  }
  EXPECT_NE(tuple, nullptr);
  EXPECT_EQ(tuple, entry);
}

TEST(Borrowing, LogitsAreNotCopied) {
  const auto plan = test::CompileOrThrow(Long("logits { full {} positions { range {} } }"));
  const at::Tensor logits = at::rand({16, 53});
  EventStream stream;
  TensorSender sender(stream);
  SendLogits(*plan, {logits}, stream, sender, [] { return true; });
  EXPECT_EQ(stream.Pop()->tensor->bytes.data(), logits.const_data_ptr());
}

}  // namespace
}  // namespace scalpel::engine
