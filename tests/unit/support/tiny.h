// A small model, and helpers to send requests to it and to read the answers.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_TINY_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_TINY_H_

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proto/scalpel/v1/intervention.pb.h"
#include "proto/scalpel/v1/observation.pb.h"
#include "proto/scalpel/v1/output.pb.h"
#include "proto/scalpel/v1/run.pb.h"
#include "server/engine/baseline_cache.h"
#include "server/engine/event_stream.h"
#include "server/engine/job.h"
#include "server/engine/wave.h"
#include "server/model/gpt2.h"
#include "server/model/tensor.h"
#include "server/spec/plan.h"

namespace scalpel::test {

// 3 layers with 3 heads. No width is a multiple of a vector register's.
model::Gpt2Config TinyConfig();
// The facts of the model, whose name is `tiny` and which has no tokenizer.
const spec::ModelFacts& TinyFacts();
// The model on the CPU with random weights, packed for the target of the kernels in use.
const model::Gpt2& TinyGpt2();

// Parses a message in protobuf's text format.
template <typename Message>
Message FromText(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

// A request with the prompts [1 2 3 4] and [5 6 7], and the fields in `text`.
v1::RunRequest RequestOf(const std::string& text);

// Compiles a valid request. Throws if it is refused, which is an error in the test.
std::shared_ptr<const spec::Plan> CompileOrThrow(const v1::RunRequest& request);

// All events of a run.
struct Answer {
  std::vector<engine::Event> events;

  // Returns the tensor with this name and prompt, in the type that was sent.
  at::Tensor Tensor(const std::string& name, int32_t prompt = 0, int32_t layer = model::kNoLayer,
                    bool clean = false) const;
  v1::ProbeResult Probe(const std::string& name, int32_t prompt = 0,
                        int32_t layer = model::kNoLayer, bool clean = false) const;
  // Returns the message that answers LogitsRequest.top_k and ids.
  v1::Logits Logits(int32_t prompt, bool clean = false) const;
  v1::InterventionReport Report(int32_t index) const;
  // Returns all results about a prompt or an intervention, as bytes, by a readable key.
  std::map<std::string, std::string> Facts() const;
  // Returns the number of bytes on the wire, except those of `started`.
  int64_t WireBytes() const;
};

// Prepares and runs the tasks, on the calling thread. Throws what one of them fails with.
void RunOrThrow(engine::Wave& wave, engine::BaselineCache& cache);
// After AllDone.
void Finish(engine::Job& job);
// Runs all tasks of a job, with at most so many in a wave, and finishes it.
void RunToEnd(engine::Job& job, engine::BaselineCache& cache, size_t wave_tasks);

// Runs them in one wave, on the calling thread. Throws what one of them fails with.
std::vector<Answer> Ask(const std::vector<std::shared_ptr<const spec::Plan>>& plans,
                        engine::BaselineCache& cache);
// Runs a plan alone and without a cache: the plain full computation.
Answer Ask(const std::shared_ptr<const spec::Plan>& plan);
Answer Ask(const v1::RunRequest& request);
// Runs RequestOf(text).
Answer Ask(const std::string& text);

// Returns whether the tensors are equal bit for bit, including NaNs.
bool SameBits(const at::Tensor& a, const at::Tensor& b);
// Returns the largest |a - b| divided by the largest |b|.
double Distance(const at::Tensor& a, const at::Tensor& b);

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_TINY_H_
