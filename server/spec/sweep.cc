#include "server/spec/sweep.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/spec/metric_fields.h"
#include "server/spec/sweep_cost.h"
#include "server/spec/weight.h"

namespace scalpel::spec {
namespace {

using Interventions = google::protobuf::RepeatedPtrField<v1::Intervention>;

// What takes about as long to check as a place that an intervention unfolds into.
constexpr int64_t kListBytesOfPlace = 4, kTensorBytesOfPlace = 64;
// Of an intervention without lists. The check of its places covers these.
constexpr int64_t kPlainBytes = 128;
// The work of all variants, in places. The variants of a list that fits into a message, and into
// the limit on places, are always within it.
constexpr int64_t kWorkOfPlace = 2;

int64_t TensorBytesOf(const v1::Tensor& tensor) {
  return static_cast<int64_t>(tensor.data().size() + sizeof(float) * tensor.values_size());
}

// Returns how long it takes to check the lists and tensors of a variant, in places.
int64_t PlacesOfLists(const Interventions& interventions) {
  int64_t lists = 0, tensors = 0;
  for (const v1::Intervention& one : interventions) {
    const int64_t tensor = TensorBytesOf(one.add().tensor()) + TensorBytesOf(one.set().tensor()) +
                           TensorBytesOf(one.project_out().direction());
    tensors += tensor;
    lists += std::max<int64_t>(static_cast<int64_t>(one.ByteSizeLong()) - tensor - kPlainBytes, 0);
  }
  return lists / kListBytesOfPlace + tensors / kTensorBytesOfPlace;
}

}  // namespace

// Goes through a request once, from its prompts to its last variant.
class SweepCompiler {
 public:
  SweepCompiler(const v1::SweepRequest& request, const ModelFacts& facts, const Limits& limits,
                Wanted wanted)
      : facts_(facts), limits_(limits), wanted_(wanted), violations_(limits->max_violations()) {
    sweep_->facts_ = &facts;
    sweep_->limits_ = limits;
    sweep_->request_ = request;
  }

  absl::StatusOr<std::shared_ptr<const Sweep>> Run();

 private:
  // Refuses what is too much before anything is looked at in detail.
  void CheckCounts();
  void CompileBase();
  void CompileShared();
  void CompileList(Compilation& c);
  // Goes through every variant once, and adds up what they cost.
  void CompileVariants();
  void FillStarted();

  v1::SweepRequest& request() { return sweep_->request_; }

  const ModelFacts& facts_;
  const Limits& limits_;
  const Wanted wanted_;
  Violations violations_;
  const std::shared_ptr<Sweep> sweep_ = std::make_shared<Sweep>();
  VariantCosts costs_;
};

absl::StatusOr<std::shared_ptr<const Sweep>> SweepCompiler::Run() {
  if (absl::Status status = CheckModel(request().model(), facts_); !status.ok()) return status;
  CheckCounts();
  if (!violations_.empty()) return violations_.ToStatus();
  request().set_model(facts_.name);
  request().set_seed(request().seed());
  PromptTokens& prompts = sweep_->prompts_;
  CompilePrompts(facts_, "prompts", violations_, request().mutable_prompts(), &prompts);
  CompilePrompts(facts_, "sources", violations_, request().mutable_sources(), &prompts);
  CompileBase();
  CompileShared();
  CompileVariants();
  if (absl::Status left = wanted_(); !left.ok()) return left;
  if (!violations_.empty()) return violations_.ToStatus();
  FillStarted();
  absl::Status status = CheckSweepCost(*sweep_, costs_, facts_.config, limits_);
  if (!status.ok()) return status;
  return sweep_;
}

void SweepCompiler::CheckCounts() {
  const v1::SweepRequest& request = sweep_->request_;
  if (request.prompts().empty()) violations_.Add("prompts", "is empty; give at least one prompt");
  CheckCount(violations_, "prompts", int64_t{request.prompts_size()} + request.sources_size(),
             limits_->max_prompts());
  CheckCount(violations_, "metrics", request.metrics_size(), limits_->max_metrics());
  CheckCount(violations_, "probes", request.probes_size(), limits_->max_probes());
  CheckCount(violations_, "variants.variants", request.variants().variants_size(),
             limits_->max_variants());
  if (request.metrics().empty() && request.probes().empty() && !request.reports()) {
    violations_.Add("metrics",
                    "is empty; ask for at least one metric, or for `probes` or "
                    "`reports`");
  }
}

void SweepCompiler::CompileBase() {
  const auto base = std::make_shared<Plan>();
  base->tokenizer = facts_.tokenizer ? &*facts_.tokenizer : nullptr;
  v1::RunRequest asked = sweep_->RunOf();
  *asked.mutable_probes() = request().probes();
  Compilation c{facts_,           limits_, wanted_, violations_,
                sweep_->prompts_, asked,   *base,   request().sources_size()};
  c.clean_row.assign(sweep_->prompts_.size(), -1);
  for (size_t i = 0; i < sweep_->prompts_.size(); ++i) CleanRow(c, static_cast<int32_t>(i));
  CheckTokens(c);
  CompileObservations(c);
  *request().mutable_probes() = asked.probes();
  CompileMetrics(c, request().mutable_metrics());
  for (const auto& tokens : base->tokens) {
    const auto length = static_cast<int64_t>(tokens.size());
    sweep_->metric_positions_.push_back(MetricPositions(request().metrics(), length));
    base->logit_positions.push_back(PositionsRead(request().metrics(), length));
  }
  Weigh(facts_.config, *base);

  switch (request().sweep_case()) {
    case v1::SweepRequest::kVariants:
      CompileList(c);
      break;
    case v1::SweepRequest::kGrid:
      sweep_->grid_ = ResolvedGrid::Resolve(c, request().mutable_grid());
      if (sweep_->grid_) sweep_->variants_ = sweep_->grid_->cells();
      break;
    case v1::SweepRequest::SWEEP_NOT_SET:
      violations_.Add("variants", "is required; give `variants` or `grid`");
      break;
  }
  sweep_->base_ = base;
}

void SweepCompiler::CompileList(Compilation& c) {
  v1::VariantList* list = request().mutable_variants();
  if (list->variants().empty())
    violations_.Add("variants.variants", "is empty; give at least one variant");
  std::unordered_set<std::string> names;
  for (int i = 0; i < list->variants_size(); ++i) {
    const std::string item = absl::StrCat("variants[", i, "]");
    ResolveName(c, list->mutable_variants(i)->mutable_name(), item, names,
                absl::StrCat("variants.", item, ".name"));
  }
  sweep_->variants_ = list->variants_size();
}

void SweepCompiler::CompileShared() {
  Plan& shared = sweep_->shared_;
  shared.tokenizer = sweep_->base_->tokenizer;
  v1::RunRequest asked = sweep_->RunOf();
  *asked.mutable_probes() = request().probes();
  Violations again(limits_->max_violations());  // what CompileBase has found already
  Compilation c{facts_,           limits_, wanted_, again,
                sweep_->prompts_, asked,   shared,  request().sources_size()};
  CompileRows(c);
  CompileObservations(c);
  const auto& positions = sweep_->base_->logit_positions;
  shared.logit_positions.assign(positions.begin(), positions.begin() + sweep_->edited_prompts());
  sweep_->shared_clean_row_ = c.clean_row;
  sweep_->shared_places_ = c.places;
}

void SweepCompiler::CompileVariants() {
  int64_t all_places = 0, all_work = 0;
  const std::string field = sweep_->grid_ ? "grid" : "variants";
  for (int32_t i = 0; i < sweep_->variants() && wanted_().ok(); ++i) {
    Violations violations(limits_->max_violations());
    Sweep::VariantSize size;
    const Plan plan = sweep_->CompileVariant(i, wanted_, violations, &size);
    all_work += size.work;
    if (!violations.empty()) {
      violations_.AddNew(
          violations,
          sweep_->grid_ ? absl::StrCat(" (in the cell ", sweep_->grid_->CellName(i), ")") : "");
    } else {
      all_places += size.places;
      if (all_places > limits_->max_sweep_places()) {
        violations_.Add(field, absl::StrCat("unfolds into more than ", limits_->max_sweep_places(),
                                            " places (layers times prompts, over all "
                                            "interventions and probes of all variants); split it"));
        return;
      }
      costs_.Add(i, plan, facts_.config);
    }
    // A grid repeats its interventions in each cell, so a short request could take long to check.
    if (all_work > kWorkOfPlace * limits_->max_sweep_places()) {
      if (violations_.empty())
        violations_.Add(field, "repeats long lists or tensors in too many variants; split it");
      return;
    }
  }
}

void SweepCompiler::FillStarted() {
  v1::SweepStarted& started = sweep_->started_;
  started.set_variants(sweep_->variants());
  if (sweep_->grid_) sweep_->grid_->Describe(started.mutable_axes());
  v1::SweepRequest* normalized = started.mutable_normalized();
  *normalized = request();
  // What may be large comes back from the caller's own hands.
  if (normalized->has_variants()) {
    normalized->mutable_variants()->Clear();
  } else {
    for (v1::GridAxis& axis : *normalized->mutable_grid()->mutable_axes()) {
      if (axis.has_directions()) axis.mutable_directions()->Clear();
    }
  }
  started.set_digest(Digest(request(), facts_));
  FillTokenized(facts_, sweep_->prompts_, started.mutable_prompts());
  *started.mutable_cost() = EstimateSweepCost(*sweep_, costs_, facts_.config);
}

v1::RunRequest Sweep::RunOf() const {
  v1::RunRequest run;
  run.set_seed(request_.seed());
  run.set_allow_non_finite(request_.allow_non_finite());
  return run;
}

Plan Sweep::CompileVariant(int32_t index, Wanted wanted, Violations& violations,
                           VariantSize* size) const {
  Plan plan = shared_;
  v1::RunRequest asked = RunOf();
  auto* interventions = asked.mutable_interventions();
  const std::string prefix = InterventionsPrefix(index);
  if (grid_) {
    grid_->Fill(index, interventions);
  } else {
    *interventions = request_.variants().variants(index).interventions();
    CheckCount(violations, absl::StrCat(prefix, "interventions"), interventions->size(),
               limits_->max_interventions());
    if (!violations.empty()) return plan;
  }
  Compilation c{*facts_,       limits_,
                wanted,        violations,
                prompts_,      asked,
                plan,          request_.sources_size(),
                prefix,        shared_clean_row_,
                shared_places_};
  CompileInterventions(c);
  CheckTokens(c);
  plan.logit_positions.resize(plan.rows.size());
  Weigh(facts_->config, plan);
  size->places = c.places;
  size->work = c.places + asked.interventions_size() + PlacesOfLists(asked.interventions());
  return plan;
}

std::shared_ptr<const Plan> Sweep::VariantPlan(int32_t index) const {
  Violations none(limits_->max_violations());  // it has been compiled before
  VariantSize size;
  return std::make_shared<const Plan>(CompileVariant(index, AlwaysWanted, none, &size));
}

std::string Sweep::InterventionsPrefix(int32_t index) const {
  return grid_ ? "grid." : absl::StrCat("variants.variants[", index, "].");
}

std::string Sweep::VariantName(int32_t index) const {
  return grid_ ? "" : request_.variants().variants(index).name();
}

std::vector<int32_t> Sweep::Coordinates(int32_t index) const {
  return grid_ ? grid_->Coordinates(index) : std::vector<int32_t>();
}

absl::StatusOr<std::shared_ptr<const Sweep>> CompileSweep(const v1::SweepRequest& request,
                                                          const ModelFacts& facts,
                                                          const Limits& limits, Wanted wanted) {
  return SweepCompiler(request, facts, limits, wanted).Run();
}

}  // namespace scalpel::spec
