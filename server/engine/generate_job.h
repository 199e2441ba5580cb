// A Generate: a task for each step of each stream.

#ifndef SCALPEL_SERVER_ENGINE_GENERATE_JOB_H_
#define SCALPEL_SERVER_ENGINE_GENERATE_JOB_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/job.h"
#include "server/model/config.h"
#include "server/model/key_cache.h"
#include "server/spec/generated_text.h"
#include "server/spec/generation.h"
#include "server/spec/sampler.h"
#include "server/spec/stop_strings.h"

namespace scalpel::engine {

// Streams go on independently of each other, and share waves as all tasks do. Streams that begin
// alike (continuations of one prompt) share their first step, whose keys and values each of them
// then has a copy of, since what they continue with differs.
//
// A choice of a token depends on its stream's tokens, logits and number alone, so no order of tasks
// shows in the answer but in the order of events of different streams.
class GenerateJob final : public Job {
 public:
  GenerateJob(std::shared_ptr<EventStream> stream,
              std::shared_ptr<const spec::Generation> generation, const model::Gpt2Config& config);

  int64_t response_bytes() const override { return generation_->started().cost().response_bytes(); }
  int64_t kv_bytes() const override { return generation_->started().kv_bytes(); }
  // Compiles the step when its turn comes.
  std::optional<Task> NextTask() override;
  bool AllDone() const override { return finished_ == generation_->streams().size(); }
  // Sends reports and `finished`.
  void Finish(Locator locate) override;

 private:
  class StepSink;

  // One stream, as far as it has come.
  struct State {
    std::vector<int32_t> tokens;  // the prompt's, and the new ones
    int32_t steps = 0;            // done: as many new tokens
    std::shared_ptr<model::KeyCache> keys;
    std::unique_ptr<spec::GeneratedText> text;
    bool finished = false;
  };
  // Streams whose next step is the same: those that begin alike, and later each alone.
  using Group = std::vector<int32_t>;

  // `streams` have done the step whose result this is.
  void StepDone(const Group& streams, const spec::Plan& plan, int32_t step,
                const TaskResult& result, StepSink& sink);
  // Gives each stream its own keys and values of the step that all of them have done; false: the
  // caller has left.
  bool ShareKeys(const Group& streams, const TaskResult& result);
  // Chooses the stream's next token, and sends it.
  void AddToken(int32_t stream, absl::Span<const float> logits);
  void FinishStream(int32_t stream, v1::FinishReason reason);
  std::optional<v1::FinishReason> ReasonToStop(const State& state, int32_t id) const;
  void AddReports(const std::vector<v1::InterventionReport>& reports);
  void Push(v1::GenerateResponse event);

  const std::shared_ptr<const spec::Generation> generation_;
  const model::Gpt2Config& config_;
  const spec::StopStrings stops_;
  std::vector<State> states_;  // by stream
  std::deque<Group> ready_;    // whose next step is to be given out
  size_t finished_ = 0;        // streams
  std::vector<v1::InterventionReport> reports_;
  absl::Time began_ = absl::InfiniteFuture();
  v1::GenerateFinished finished_message_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_GENERATE_JOB_H_
