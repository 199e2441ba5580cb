// Processes logits, and draws tokens of them, as the server does: see tests/parity/sampling.py.
//
// Reads cases from standard input until it ends, numbers in the machine's order of bytes: five
// int32, the sizes of what follows; a Sampling, as bytes; the logits, float32; the sequence and the
// banned tokens, int32; the draws, each its seed, prompt, continuation and step as four uint64.
// Writes for each case the processed logits, float32, and each draw's choice: the token, int32, -1
// for none, and its two log-probabilities, float32.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "server/spec/sampler.h"

namespace scalpel::spec {
namespace {

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "sampler_tool: %s\n", why.c_str());
  std::exit(1);
}

template <typename T>
std::vector<T> Read(int32_t count) {
  std::vector<T> values(count);
  if (std::fread(values.data(), sizeof(T), values.size(), stdin) != values.size())
    Fail("the input ends within a case");
  return values;
}

template <typename T>
void Write(const T* values, size_t count) {
  if (std::fwrite(values, sizeof(T), count, stdout) != count) Fail("cannot write");
}

struct DrawFields {
  uint64_t seed, prompt, continuation, step;
};

void Answer(const int32_t (&sizes)[5]) {
  const std::vector<char> message = Read<char>(sizes[0]);
  v1::Sampling sampling;
  if (!sampling.ParseFromArray(message.data(), sizes[0])) Fail("a Sampling is not readable");
  Violations violations(1);
  CheckSampling(sampling, sizes[1], "sampling", violations);
  if (!violations.empty()) Fail(std::string(violations.ToStatus().message()));
  const auto logits = Read<float>(sizes[1]);
  const auto sequence = Read<int32_t>(sizes[2]);
  const auto banned = Read<int32_t>(sizes[3]);
  const std::vector<float> processed = Processed(logits, sampling, sequence, banned);
  Write(processed.data(), processed.size());
  for (const DrawFields& fields : Read<DrawFields>(sizes[4])) {
    const Draw draw = {.seed = fields.seed,
                       .prompt = static_cast<int32_t>(fields.prompt),
                       .continuation = static_cast<int32_t>(fields.continuation),
                       .step = static_cast<int32_t>(fields.step)};
    const std::optional<Choice> choice = Choose(logits, sampling, sequence, banned, draw);
    const int32_t id = choice ? choice->id : -1;
    const float log_probs[] = {choice ? choice->log_prob : 0,
                               choice ? choice->sampling_log_prob : 0};
    Write(&id, 1);
    Write(log_probs, 2);
  }
}

}  // namespace
}  // namespace scalpel::spec

int main() {
  int32_t sizes[5];
  while (std::fread(sizes, sizeof(int32_t), 5, stdin) == 5) scalpel::spec::Answer(sizes);
  return 0;
}
