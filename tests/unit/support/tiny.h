// A small model, and short ways to ask it and to read its answers.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_TINY_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_TINY_H_

#include <ATen/ATen.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proto/scalpel/v1/service.pb.h"
#include "server/engine/baseline_cache.h"
#include "server/engine/event_stream.h"
#include "server/model/gpt2.h"
#include "server/spec/plan.h"

namespace scalpel::test {

// 3 layers of 3 heads. No width is a multiple of a vector register's.
model::Gpt2Config TinyConfig();
// Named `tiny`; without a tokenizer.
const spec::ModelFacts& TinyFacts();
// On the CPU, with random weights; packed for the target of the kernels that is forced now.
const model::Gpt2& TinyGpt2();

// A message from protobuf's text format.
template <typename Message>
Message FromText(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

// Prompts [1 2 3 4] and [5 6 7], and what `text` says.
v1::RunRequest RequestOf(const std::string& text);

// Throws where the request is refused: then the test is wrong.
std::shared_ptr<const spec::Plan> CompileOrThrow(const v1::RunRequest& request);

// All events of one run.
struct Answer {
  std::vector<engine::Event> events;

  // The tensor of that name, of one prompt, in its own type.
  at::Tensor Tensor(const std::string& name, int32_t prompt = 0, int32_t layer = model::kNoLayer,
                    bool clean = false) const;
  v1::ProbeResult Probe(const std::string& name, int32_t prompt = 0,
                        int32_t layer = model::kNoLayer, bool clean = false) const;
  // For LogitsRequest.top_k and ids.
  v1::Logits Logits(int32_t prompt, bool clean = false) const;
  v1::InterventionReport Report(int32_t index) const;
  // Everything that is said of one prompt, or of an intervention, by a readable key, as bytes.
  std::map<std::string, std::string> Facts() const;
  // Size on the wire without `started`.
  int64_t WireBytes() const;
};

// Runs them in one wave, on the calling thread. Throws what libtorch throws.
std::vector<Answer> Ask(const std::vector<std::shared_ptr<const spec::Plan>>& plans,
                        engine::BaselineCache& cache);
// Alone, and from nothing: the plain full computation.
Answer Ask(const std::shared_ptr<const spec::Plan>& plan);
Answer Ask(const v1::RunRequest& request);
// RequestOf(text).
Answer Ask(const std::string& text);

// Bit for bit, NaNs included.
bool SameBits(const at::Tensor& a, const at::Tensor& b);
// The largest |a - b|, relative to the largest |b|.
double Distance(const at::Tensor& a, const at::Tensor& b);

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_TINY_H_
