#include "server/engine/generate_job.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "server/engine/fault_points.h"
#include "server/engine/logits.h"

namespace scalpel::engine {

// Streams what is observed of one step, each event once: when the task runs again, those that the
// caller has been sent before are dropped.
class GenerateJob::StepSink final : public TaskSink {
 public:
  StepSink(EventStream& stream, StepOf step, std::shared_ptr<const spec::Generation> generation)
      : stream_(stream), step_(step), generation_(std::move(generation)) {}

  void Restart() override { pushed_ = 0; }
  void Push(Event event) override {
    if (pushed_++ < sent_) return;
    ++sent_;
    Event out;
    if (event.tensor) {
      out.tensor = std::move(event.tensor);
      out.step = step_;
    } else {
      v1::StepEvent& step = *out.generate.emplace().mutable_step();
      step.set_stream(step_.stream);
      step.set_step(step_.step);
      if (event.message.has_logits()) {
        step.mutable_logits()->Swap(event.message.mutable_logits());
      } else {
        step.mutable_layer_statistics()->Swap(event.message.mutable_layer_statistics());
        for (v1::ProbeResult& result : *step.mutable_layer_statistics()->mutable_results())
          result.set_index(generation_->ProbeIndex(result.name()));
      }
    }
    stream_.Push(std::move(out));
  }

 private:
  EventStream& stream_;
  const StepOf step_;
  const std::shared_ptr<const spec::Generation> generation_;
  int64_t pushed_ = 0;  // since the task began to run
  int64_t sent_ = 0;    // in all its runs
};

GenerateJob::GenerateJob(std::shared_ptr<EventStream> call,
                         std::shared_ptr<const spec::Generation> generation,
                         const model::Gpt2Config& config)
    : Job(std::move(call)),
      generation_(std::move(generation)),
      config_(config),
      stops_(generation_->stop_strings()),
      states_(generation_->streams().size()),
      reports_(generation_->intervention_names().size()) {
  std::map<std::pair<int32_t, bool>, Group> groups;
  for (size_t i = 0; i < states_.size(); ++i) {
    const spec::GenerationStream& stream = generation_->streams()[i];
    states_[i].tokens = generation_->prompts()[stream.prompt];
    states_[i].text = std::make_unique<spec::GeneratedText>(generation_->tokenizer(), stops_);
    // What is observed of step 0 is of the stream that it is sent with; a twin's is its own.
    groups[{stream.prompt, stream.unsteered}].push_back(static_cast<int32_t>(i));
  }
  for (auto& [kind, group] : groups) ready_.push_back(std::move(group));
  const std::vector<std::string> names = generation_->intervention_names();
  for (size_t i = 0; i < names.size(); ++i) {
    reports_[i].set_index(static_cast<int32_t>(i));
    reports_[i].set_name(names[i]);
  }
}

// ---- tasks --------------------------------------------------------------------------------------

std::optional<Task> GenerateJob::NextTask() {
  if (ready_.empty()) return std::nullopt;
  const Group streams = std::move(ready_.front());
  ready_.pop_front();
  const spec::GenerationStream& kind = generation_->streams()[streams.front()];
  State& state = states_[streams.front()];
  if (state.steps == 0 && generation_->KeepsKeys(kind))
    state.keys = std::make_shared<model::KeyCache>(config_, generation_->LengthMax(kind));
  const bool first = state.steps == 0 || state.keys == nullptr;
  const auto plan = generation_->StepPlan(kind, state.steps, state.tokens);
  const auto sink =
      std::make_shared<StepSink>(stream(), StepOf{streams.front(), state.steps}, generation_);
  return Task{
      .job = shared_from_this(),
      .plan = plan,
      .sink = sink,
      .done = [this, streams, plan, step = state.steps,
               sink](const TaskResult& result) { StepDone(streams, *plan, step, result, *sink); },
      .keys = state.keys,
      .kept = first ? 0 : static_cast<int64_t>(state.tokens.size()) - 1};
}

// ---- results ------------------------------------------------------------------------------------

void GenerateJob::StepDone(const Group& streams, const spec::Plan& plan, int32_t step,
                           const TaskResult& result, StepSink& sink) {
  if (generation_->SendsLogits() &&
      !SendLogits(plan, {result.logits.front()}, sink, *result.sender, result.goes_on))
    return;
  PassFaultPoint(FaultPoint::kDone, stream().request_id());
  const at::Tensor logits = result.logits.front().to(at::kCPU, at::kFloat).contiguous();
  const absl::Span<const float> values(logits.const_data_ptr<float>(), logits.size(1));
  if (!ShareKeys(streams, result)) return;
  for (const int32_t index : streams) {  // each once, if this is called again
    if (states_[index].steps == step && !states_[index].finished) AddToken(index, values);
  }
  AddReports(result.reports);
  began_ = std::min(began_, result.began);
  finished_message_.set_tokens_computed(finished_message_.tokens_computed() +
                                        result.tokens_computed);
  finished_message_.set_tensor_bytes(finished_message_.tensor_bytes() +
                                     result.sender->bytes_sent());
}

bool GenerateJob::ShareKeys(const Group& streams, const TaskResult& result) {
  const State& first = states_[streams.front()];
  if (first.keys == nullptr) return true;
  for (const int32_t index : streams) {
    if (!result.goes_on()) return false;
    State& state = states_[index];
    if (state.keys != nullptr) continue;
    state.keys = std::make_shared<model::KeyCache>(
        config_, generation_->LengthMax(generation_->streams()[index]));
    state.keys->PutAll(*first.keys, static_cast<int64_t>(first.tokens.size()));
  }
  return true;
}

void GenerateJob::AddToken(int32_t index, absl::Span<const float> logits) {
  State& state = states_[index];
  const spec::GenerationStream& kind = generation_->streams()[index];
  const bool early = state.steps < generation_->tokens_min();
  const auto banned =
      early ? absl::MakeConstSpan(generation_->stop_ids()) : absl::Span<const int32_t>();
  const auto choice = spec::Choose(logits, generation_->sampling(), state.tokens, banned,
                                   {.seed = generation_->seed(),
                                    .prompt = kind.prompt,
                                    .continuation = kind.continuation,
                                    .step = state.steps});
  if (!choice) return FinishStream(index, v1::FINISH_REASON_NON_FINITE);
  v1::GenerateResponse event;
  v1::GeneratedToken& token = *event.mutable_token();
  token.set_stream(index);
  token.set_step(state.steps);
  token.set_id(choice->id);
  token.set_log_prob(choice->log_prob);
  token.set_sampling_log_prob(choice->sampling_log_prob);
  if (const model::Tokenizer* tokenizer = generation_->tokenizer())
    token.set_token(tokenizer->TokenText(choice->id));
  token.set_text(state.text->Add(choice->id));
  state.tokens.push_back(choice->id);
  ++state.steps;
  const auto reason = ReasonToStop(state, choice->id);
  if (reason) token.mutable_text()->append(state.text->Finish());
  Push(std::move(event));
  if (reason)
    FinishStream(index, *reason);
  else
    ready_.push_back({index});
}

std::optional<v1::FinishReason> GenerateJob::ReasonToStop(const State& state, int32_t id) const {
  const std::vector<int32_t>& ids = generation_->stop_ids();
  if (std::find(ids.begin(), ids.end(), id) != ids.end()) return v1::FINISH_REASON_STOP_ID;
  if (state.text->stop() != nullptr) return v1::FINISH_REASON_STOP_STRING;
  if (state.steps == generation_->tokens_max()) return v1::FINISH_REASON_LENGTH;
  return std::nullopt;
}

void GenerateJob::FinishStream(int32_t index, v1::FinishReason reason) {
  State& state = states_[index];
  v1::GenerateResponse event;
  v1::StreamFinished& finished = *event.mutable_stream_finished();
  finished.set_stream(index);
  finished.set_reason(reason);
  if (reason == v1::FINISH_REASON_STOP_STRING) finished.set_stop_string(*state.text->stop());
  finished.mutable_ids()->Assign(state.tokens.end() - state.steps, state.tokens.end());
  finished.set_text(std::string(state.text->text()));
  finished_message_.set_new_tokens(finished_message_.new_tokens() + state.steps);
  Push(std::move(event));
  state.finished = true;
  state.keys.reset();
  ++finished_;
}

void GenerateJob::AddReports(const std::vector<v1::InterventionReport>& reports) {
  for (size_t i = 0; i < reports.size(); ++i) {
    v1::InterventionReport& sum = reports_[i];
    sum.set_sites_touched(sum.sites_touched() + reports[i].sites_touched());
    sum.set_elements_selected(sum.elements_selected() + reports[i].elements_selected());
    sum.set_elements_changed(sum.elements_changed() + reports[i].elements_changed());
    sum.set_max_abs_change(std::max(sum.max_abs_change(), reports[i].max_abs_change()));
  }
}

void GenerateJob::Finish(Locator) {
  for (const v1::InterventionReport& report : reports_) {
    v1::GenerateResponse event;
    *event.mutable_intervention_report() = report;
    Push(std::move(event));
  }
  FillTimes(began_, &finished_message_);
  v1::GenerateResponse event;
  *event.mutable_finished() = std::move(finished_message_);
  Push(std::move(event));
}

void GenerateJob::Push(v1::GenerateResponse event) {
  Event out;
  out.generate = std::move(event);
  stream().Push(std::move(out));
}

}  // namespace scalpel::engine
