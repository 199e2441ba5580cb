#include "server/spec/generation.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/model/key_cache.h"
#include "server/spec/cost.h"
#include "server/spec/generation_fields.h"
#include "server/spec/steps.h"
#include "server/spec/weight.h"

namespace scalpel::spec {
namespace {

// Upper bounds of the messages of a new token without its texts, and of a stream's end without its.
constexpr int64_t kTokenMessageBytes = 128, kStreamMessageBytes = 128;

// A request in which every place is valid in every prompt, and on its way through normalisation
// keeps what it says of positions and steps.
class WithoutPositions {
 public:
  explicit WithoutPositions(v1::Place& place) : place_(place), said_(place.where()) {
    v1::Selection* where = place.mutable_where();
    where->clear_steps();
    if (where->has_positions()) SetOnly(-1, where->mutable_positions());
    if (where->has_key_positions()) SetOnly(0, where->mutable_key_positions());
  }
  ~WithoutPositions() {
    v1::Selection* where = place_.mutable_where();
    if (said_.has_steps()) *where->mutable_steps() = said_.steps();
    if (said_.has_positions()) *where->mutable_positions() = said_.positions();
    if (said_.has_key_positions()) *where->mutable_key_positions() = said_.key_positions();
  }
  WithoutPositions(WithoutPositions&&) = delete;

 private:
  static void SetOnly(int64_t position, v1::Positions* positions) {
    positions->mutable_indices()->mutable_values()->Clear();
    positions->mutable_indices()->add_values(position);
  }

  v1::Place& place_;
  const v1::Selection said_;
};

// A place as wide as it can become at a step behind the prompt, for estimates.
void Widen(bool windowed, v1::Place* place) {
  v1::Selection* where = place->mutable_where();
  where->clear_steps();
  if (windowed || where->positions().has_tokens()) where->clear_positions();
  if (windowed || where->key_positions().has_tokens()) where->clear_key_positions();
}

}  // namespace

// ---- one step -----------------------------------------------------------------------------------

int64_t Generation::LengthMax(const GenerationStream& stream) const {
  return static_cast<int64_t>(prompts_[stream.prompt].size()) + request_.stop().max_new_tokens() -
         1;
}

std::vector<std::string> Generation::intervention_names() const {
  std::vector<std::string> names;
  for (const v1::Intervention& one : request_.interventions()) names.push_back(one.name());
  return names;
}

int32_t Generation::ProbeIndex(const std::string& name) const {
  const auto found = std::find_if(request_.probes().begin(), request_.probes().end(),
                                  [&](const v1::Probe& probe) { return probe.name() == name; });
  return static_cast<int32_t>(found - request_.probes().begin());
}

bool Generation::KeepsKeys(const GenerationStream& stream) const {
  return stream.unsteered || request_.reuse_kv() != v1::KV_REUSE_RECOMPUTE_ALL;
}

v1::RunRequest Generation::StepRequest(const GenerationStream& stream, const StepView& view,
                                       std::vector<bool>* acting) const {
  v1::RunRequest step;
  step.set_seed(request_.seed());
  step.set_allow_non_finite(request_.allow_non_finite());
  for (const v1::Intervention& intervention : request_.interventions()) {
    v1::Intervention* narrowed = step.add_interventions();
    narrowed->set_name(intervention.name());
    if (stream.unsteered || !SelectsStep(intervention.place().where(), view.step)) {
      acting->push_back(false);  // it keeps its index, which noise is made of
      continue;
    }
    *narrowed = intervention;
    acting->push_back(NarrowIntervention(narrowed, view));
  }
  for (const v1::Probe& probe : request_.probes()) {
    v1::Probe narrowed = probe;
    if (NarrowSelection(narrowed.mutable_place()->mutable_where(), view))
      *step.add_probes() = std::move(narrowed);
  }
  for (const v1::Capture& capture : request_.captures()) {
    v1::Capture narrowed = capture;
    if (NarrowSelection(narrowed.mutable_place()->mutable_where(), view))
      *step.add_captures() = std::move(narrowed);
  }
  if (SendsLogits())
    *step.mutable_logits() = request_.logits();
  else
    step.mutable_logits()->mutable_none();
  return step;
}

std::shared_ptr<Plan> Generation::CompileStep(const GenerationStream& stream, const StepView& view,
                                              int64_t* places, Violations& violations) const {
  auto plan = std::make_shared<Plan>();
  plan->tokenizer = tokenizer();
  std::vector<bool> acting;
  v1::RunRequest asked = StepRequest(stream, view, &acting);
  PromptTokens prompts(prompts_.size());
  for (int i = 0; i < asked.interventions_size(); ++i) {
    if (acting[i] && asked.interventions(i).has_patch()) prompts = prompts_;
  }
  prompts[stream.prompt].assign(view.tokens.begin(), view.tokens.end());
  Compilation c{*facts_, limits_, AlwaysWanted, violations, prompts, asked, *plan};
  c.places = *places;
  c.only_prompt = stream.prompt;
  c.acting = std::move(acting);
  CompileRows(c);
  CompileInterventions(c);
  CompileObservations(c);
  CompileOutputs(c);
  CheckTokens(c);
  plan->logit_positions[0] = {static_cast<int64_t>(view.tokens.size()) - 1};  // for the sampler
  Weigh(facts_->config, *plan);
  *places = c.places;
  return plan;
}

std::shared_ptr<const Plan> Generation::StepPlan(const GenerationStream& stream, int32_t step,
                                                 absl::Span<const int32_t> tokens) const {
  const auto length = static_cast<int64_t>(tokens.size());
  const bool windowed = step > 0 && KeepsKeys(stream);
  Violations violations(1);
  int64_t places = 0;
  auto plan = CompileStep(stream, {stream.prompt, step, tokens, windowed ? length - 1 : 0}, &places,
                          violations);
  if (!violations.empty())
    throw std::logic_error(
        absl::StrCat("step ", step, ": ", std::string(violations.ToStatus().message())));
  return plan;
}

// ---- the request --------------------------------------------------------------------------------

class GenerationCompiler {
 public:
  GenerationCompiler(const v1::GenerateRequest& request, const ModelFacts& facts,
                     const Limits& limits, Wanted wanted)
      : facts_(facts), limits_(limits), wanted_(wanted), violations_(limits->max_violations()) {
    generation_->facts_ = &facts;
    generation_->limits_ = limits;
    generation_->request_ = request;
  }

  absl::StatusOr<std::shared_ptr<const Generation>> Run();

 private:
  // Fills in what the places of the request leave open, but for positions.
  void Normalize();
  void MakeStreams();
  // Compiles the first step of each kind of stream, and the widest that a later one can be.
  absl::Status CompileSteps();
  // The same generation with every place as wide as it can be at a later step.
  Generation Widened() const;
  // Adds what `count` streams of this kind cost.
  absl::Status AddStreams(const Generation& wide, const GenerationStream& stream, int64_t count);
  absl::Status FillStarted();

  v1::GenerateRequest& request() { return generation_->request_; }

  const ModelFacts& facts_;
  const Limits& limits_;
  const Wanted wanted_;
  Violations violations_;
  const std::shared_ptr<Generation> generation_ = std::make_shared<Generation>();
  v1::Cost cost_;
  int64_t kv_bytes_ = 0, length_sum_ = 0;
  int64_t first_places_ = 0, later_places_ = 0;  // that all prompts unfold into
};

absl::StatusOr<std::shared_ptr<const Generation>> GenerationCompiler::Run() {
  if (absl::Status status = CheckModel(request().model(), facts_); !status.ok()) return status;
  CheckGenerationCounts(request(), facts_, limits_, violations_);
  if (!violations_.empty()) return violations_.ToStatus();
  request().set_model(facts_.name);
  request().set_seed(request().seed());
  CompilePrompts(facts_, "prompts", violations_, request().mutable_prompts(),
                 &generation_->prompts_);
  Normalize();
  if (absl::Status left = wanted_(); !left.ok()) return left;
  if (!violations_.empty()) return violations_.ToStatus();
  CheckGenerationPlaces(request(), generation_->prompts_, facts_, violations_);
  if (!violations_.empty()) return violations_.ToStatus();
  MakeStreams();
  if (absl::Status status = CompileSteps(); !status.ok()) return status;
  if (!violations_.empty()) return violations_.ToStatus();
  if (absl::Status status = FillStarted(); !status.ok()) return status;
  return generation_;
}

void GenerationCompiler::Normalize() {
  v1::RunRequest run;
  run.set_seed(request().seed());
  run.set_allow_non_finite(request().allow_non_finite());
  run.mutable_interventions()->Swap(request().mutable_interventions());
  run.mutable_probes()->Swap(request().mutable_probes());
  run.mutable_captures()->Swap(request().mutable_captures());
  {
    std::vector<std::unique_ptr<WithoutPositions>> places;
    for (auto& one : *run.mutable_interventions())
      places.push_back(std::make_unique<WithoutPositions>(*one.mutable_place()));
    for (auto& one : *run.mutable_probes())
      places.push_back(std::make_unique<WithoutPositions>(*one.mutable_place()));
    for (auto& one : *run.mutable_captures())
      places.push_back(std::make_unique<WithoutPositions>(*one.mutable_place()));
    Plan plan;
    Compilation c{facts_, limits_, wanted_, violations_, generation_->prompts_, run, plan};
    CompileRows(c);
    NormalizeInterventions(c);
    CompileObservations(c);
  }
  request().mutable_interventions()->Swap(run.mutable_interventions());
  request().mutable_probes()->Swap(run.mutable_probes());
  request().mutable_captures()->Swap(run.mutable_captures());
}

void GenerationCompiler::MakeStreams() {
  for (int32_t prompt = 0; prompt < request().prompts_size(); ++prompt) {
    for (int32_t continuation = 0; continuation < request().continuations(); ++continuation) {
      generation_->streams_.push_back({prompt, continuation, /*unsteered=*/false});
      if (request().unsteered())
        generation_->streams_.push_back({prompt, continuation, /*unsteered=*/true});
    }
  }
  const v1::Stop& stop = request().stop();
  generation_->stop_ids_.assign(stop.ids().begin(), stop.ids().end());
  if (stop.ignore_eos()) return;
  const auto& eos = facts_.config.eos_token_ids;
  generation_->stop_ids_.insert(generation_->stop_ids_.end(), eos.begin(), eos.end());
}

Generation GenerationCompiler::Widened() const {
  Generation wide = *generation_;
  const v1::KvReuse reuse = wide.request().reuse_kv();
  const bool windowed = reuse != v1::KV_REUSE_RECOMPUTE_ALL;
  for (v1::Intervention& one : *wide.request_.mutable_interventions()) {
    if (!NeedsFixedPositions(one, reuse))
      Widen(windowed, one.mutable_place());
    else if (windowed)  // the prompt's positions are those of step 0
      one.mutable_place()->mutable_where()->mutable_steps()->set_end(1);
  }
  for (v1::Probe& one : *wide.request_.mutable_probes()) Widen(windowed, one.mutable_place());
  for (v1::Capture& one : *wide.request_.mutable_captures()) Widen(windowed, one.mutable_place());
  return wide;
}

absl::Status GenerationCompiler::CompileSteps() {
  const Generation wide = Widened();
  for (int32_t prompt = 0; prompt < request().prompts_size(); ++prompt) {
    for (const bool unsteered : {false, true}) {
      if (unsteered && !request().unsteered()) continue;
      if (absl::Status left = wanted_(); !left.ok()) return left;
      const GenerationStream stream{prompt, 0, unsteered};
      absl::Status status = AddStreams(wide, stream, request().continuations());
      if (!status.ok() || !violations_.empty()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status GenerationCompiler::AddStreams(const Generation& wide, const GenerationStream& stream,
                                            int64_t count) {
  const std::vector<int32_t>& prompt = generation_->prompts()[stream.prompt];
  const int64_t steps = request().stop().max_new_tokens(), length = generation_->LengthMax(stream);
  const auto first =
      generation_->CompileStep(stream, {stream.prompt, 0, prompt, 0}, &first_places_, violations_);
  std::vector<int32_t> longest = prompt;
  longest.resize(length, prompt.back());
  const bool keeps = generation_->KeepsKeys(stream);
  const int32_t last = static_cast<int32_t>(steps) - 1;
  const auto later =
      wide.CompileStep(stream, {stream.prompt, last, longest, keeps && last > 0 ? length - 1 : 0},
                       &later_places_, violations_);
  if (!violations_.empty()) return absl::OkStatus();
  int64_t bytes = steps * (kTokenMessageBytes + 2 * kTokenBytes) + kStreamMessageBytes;
  double flops = EstimateRowFlops(*first, 0, facts_.config);
  for (const auto& [plan, times] : {std::pair{first, int64_t{1}}, {later, steps - 1}}) {
    if (absl::Status status = CheckWeight(*plan, 0, "a step", "", limits_); !status.ok())
      return status;
    bytes += times * (EstimateObservationBytes(*plan) +
                      (generation_->SendsLogits() ? EstimateLogitsBytes(*plan, facts_.config) : 0));
    const v1::Cost cost = EstimateCost(*plan, facts_.config);
    cost_.set_activation_bytes(std::max(cost_.activation_bytes(), cost.activation_bytes()));
    cost_.set_observation_seconds(
        std::max(cost_.observation_seconds(), cost.observation_seconds()));
  }
  const int64_t tokens =
      keeps ? length : steps * static_cast<int64_t>(prompt.size()) + steps * (steps - 1) / 2;
  flops += static_cast<double>(steps - 1) * EstimateRowFlops(*later, 0, facts_.config) /
           (keeps ? static_cast<double>(length) : 1.0);
  cost_.set_rows(static_cast<int32_t>(cost_.rows() + count));
  cost_.set_tokens(cost_.tokens() + count * tokens);
  cost_.set_flops(cost_.flops() + static_cast<double>(count) * flops);
  cost_.set_response_bytes(cost_.response_bytes() + count * bytes);
  length_sum_ += count * length;
  if (keeps) kv_bytes_ += count * model::KeyCache::Bytes(facts_.config, length);
  return absl::OkStatus();
}

absl::Status GenerationCompiler::FillStarted() {
  if (length_sum_ > limits_->max_tokens()) {
    return InvalidField(
        "stop.max_new_tokens",
        absl::StrCat("the streams may grow to ", length_sum_, " tokens together, at most ",
                     limits_->max_tokens(), " are allowed; ask for fewer tokens or streams"));
  }
  if (kv_bytes_ > limits_->max_kv_bytes()) {
    return OverLimit(
        "limits.max_kv_bytes",
        absl::StrCat("keys and values take ", kv_bytes_, " bytes, at most ",
                     limits_->max_kv_bytes(), " are allowed; ask for fewer streams or tokens"));
  }
  v1::GenerateStarted& started = generation_->started_;
  *started.mutable_normalized() = request();
  started.set_digest(Digest(request(), facts_));
  started.set_kv_bytes(kv_bytes_);
  FillTokenized(facts_, generation_->prompts(), started.mutable_prompts());
  for (const GenerationStream& stream : generation_->streams()) {
    v1::GenerateStream* said = started.add_streams();
    said->set_prompt(stream.prompt);
    said->set_continuation(stream.continuation);
    said->set_unsteered(stream.unsteered);
  }
  cost_.set_response_bytes(cost_.response_bytes() + kReportBytes * request().interventions_size() +
                           static_cast<int64_t>(started.ByteSizeLong()) + 2 * kMessageBytes);
  *started.mutable_cost() = cost_;
  if (cost_.response_bytes() <= limits_->max_response_bytes()) return absl::OkStatus();
  return OverLimit("limits.max_response_bytes",
                   absl::StrCat("the response is estimated at ", cost_.response_bytes(),
                                " bytes, at most ", limits_->max_response_bytes(),
                                " are allowed; ask for fewer captures, probes, logits, streams or "
                                "tokens"));
}

absl::StatusOr<std::shared_ptr<const Generation>> CompileGeneration(
    const v1::GenerateRequest& request, const ModelFacts& facts, const Limits& limits,
    Wanted wanted) {
  return GenerationCompiler(request, facts, limits, wanted).Run();
}

}  // namespace scalpel::spec
