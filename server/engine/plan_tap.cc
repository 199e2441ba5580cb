#include "server/engine/plan_tap.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/spec/ops.h"
#include "server/spec/stats.h"

namespace scalpel::engine {
namespace {

using model::kNoLayer;
using model::Site;

void SetLayer(int32_t layer, auto* message) {
  if (layer != kNoLayer) message->set_layer(layer);
}

// The rows of a group, all of their positions, along a new batch axis, as they leave.
at::Tensor Batch(Site site, model::RowOf row_of, const spec::LengthGroup& group, v1::DataType dtype,
                 Future future) {
  std::vector<at::Tensor> rows;
  for (const int32_t row : group.rows) rows.push_back(row_of(site, row).value);
  return BatchToHost(rows, dtype, future);
}

// Of a site once the steps of its visit are done.
Future FutureOf(Site site) { return site == Site::kPattern ? Future::kFinal : Future::kChanges; }

// A region counts from a row's first position; `value` may begin later.
spec::Region Within(const spec::Region& region, const spec::SiteEntry& site,
                    const model::RowValue& value) {
  return region.From(spec::PositionAxis(site.facts), value.first);
}

at::Tensor Read(const spec::Region& region, const spec::SiteEntry& site,
                const model::RowValue& value) {
  return Within(region, site, value).Read(value.value);
}

}  // namespace

PlanTap::PlanTap(const spec::Plan& plan, at::Device device, EventSink& sink, TensorSender& sender)
    : plan_(plan),
      sink_(sink),
      sender_(sender),
      effects_(plan.request.interventions_size()),
      changed_(plan.rows.size()),
      tuples_(plan.groups.size()) {
  for (const at::Tensor& operand : plan.operands)
    operands_.push_back(operand.defined() ? operand.to(device) : operand);
}

const spec::SitePlan* PlanTap::Find(Site site, int32_t layer) const {
  const auto found = plan_.sites.find({layer, site});
  return found == plan_.sites.end() ? nullptr : &found->second;
}

bool PlanTap::SendsWhole(Site site, int32_t layer) const {
  const bool hidden = plan_.request.output_hidden_states();
  switch (site) {
    case Site::kResidPre:
      return hidden && layer == 0;
    case Site::kResidPost:
      return hidden || plan_.block_outputs[layer];
    case Site::kLnFOut:
      return hidden;
    case Site::kPattern:
      return plan_.request.output_attentions() && plan_.block_outputs[layer];
    default:
      return false;
  }
}

bool PlanTap::Wants(Site site, int32_t layer) const {
  return Find(site, layer) != nullptr || SendsWhole(site, layer);
}

bool PlanTap::Wants(Site site, int32_t layer, int32_t row) const {
  if (SendsWhole(site, layer)) return true;
  const spec::SitePlan* plan = Find(site, layer);
  if (plan == nullptr) return false;
  const auto named = [row](const std::vector<spec::Observation>& list) {
    return std::any_of(list.begin(), list.end(), [row](const spec::Observation& observation) {
      return observation.row == row || observation.clean_row == row;
    });
  };
  const auto& kept = plan->kept_rows;
  return named(plan->probes_before) || named(plan->probes_after) || named(plan->captures_before) ||
         named(plan->captures_after) || std::find(kept.begin(), kept.end(), row) != kept.end() ||
         std::any_of(plan->steps.begin(), plan->steps.end(), [row](const spec::Step& step) {
           return step.row == row || (step.source != nullptr && step.source_row == row);
         });
}

bool PlanTap::Edits(Site site, int32_t layer, int32_t row) const {
  const spec::SitePlan* plan = Find(site, layer);
  return plan != nullptr && std::any_of(plan->steps.begin(), plan->steps.end(),
                                        [row](const spec::Step& step) { return step.row == row; });
}

void PlanTap::Visit(absl::Span<const Site> sites, int32_t layer, model::RowOf row_of) {
  for (const Site site : sites) {
    if (site == Site::kResidPre && SendsWhole(site, layer)) SendEmbeddings(row_of);
    if (const auto* plan = Find(site, layer)) {
      Measure(plan->probes_before, site, layer, row_of);
      Capture(plan->captures_before, site, layer, Future::kChanges, row_of);
    }
  }
  ApplySteps(sites, layer, row_of);
  for (const Site site : sites) {
    if (SendsWhole(site, layer)) SendWhole(site, layer, row_of);
    const spec::SitePlan* plan = Find(site, layer);
    if (plan == nullptr) continue;
    Measure(plan->probes_after, site, layer, row_of);
    Capture(plan->captures_after, site, layer, FutureOf(site), row_of);
    for (const int32_t row : plan->kept_rows) {
      model::RowValue value = row_of(site, row);
      value.value = value.value.clone();
      kept_[{layer, site, row}] = std::move(value);
    }
  }
}

bool PlanTap::Changed(int32_t row) const {
  return changed_[row].defined() && changed_[row].item<int64_t>() > 0;
}

void PlanTap::Measure(const std::vector<spec::Observation>& probes, Site at_site, int32_t layer,
                      model::RowOf row_of) {
  const spec::SiteEntry& site = *spec::FindSite(spec::ToProto(at_site));
  for (const spec::Observation& observation : probes) {
    at::Tensor clean;
    if (observation.clean_row)
      clean = Read(*observation.region, site, row_of(at_site, *observation.clean_row));
    measured_.push_back(
        {&observation, at_site, layer,
         spec::Measure(plan_.request.probes(observation.index), site, *observation.region,
                       Read(*observation.region, site, row_of(at_site, observation.row)), clean)});
  }
}

void PlanTap::Capture(const std::vector<spec::Observation>& captures, Site at_site, int32_t layer,
                      Future future, model::RowOf row_of) {
  const spec::SiteEntry& site = *spec::FindSite(spec::ToProto(at_site));
  for (const spec::Observation& observation : captures) {
    const v1::Capture& capture = plan_.request.captures(observation.index);
    const spec::PlanRow& row = plan_.rows[observation.row];
    v1::TensorHeader header;
    header.set_kind(v1::TENSOR_KIND_CAPTURE);
    header.set_name(capture.name());
    header.set_site(site.site);
    SetLayer(layer, &header);
    header.add_prompts(row.prompt);
    header.set_clean(row.clean);
    header.set_moment(capture.moment());
    spec::DescribeAxes(
        site, *observation.region, [](v1::Axis) { return true; }, header.mutable_axes());
    const model::RowValue value = row_of(at_site, observation.row);
    const at::Tensor part = Read(*observation.region, site, value);
    const bool gathered = !part.is_alias_of(value.value);
    sender_.Defer(sender_.Prepare(
        std::move(header), ToHost(part, capture.dtype(), gathered ? Future::kFinal : future)));
  }
}

// In the request's order over all sites that share this storage.
void PlanTap::ApplySteps(absl::Span<const Site> sites, int32_t layer, model::RowOf row_of) {
  std::vector<std::pair<const spec::Step*, Site>> steps;
  for (const Site site : sites) {
    const spec::SitePlan* plan = Find(site, layer);
    if (plan == nullptr) continue;
    for (const spec::Step& step : plan->steps) steps.emplace_back(&step, site);
  }
  std::stable_sort(steps.begin(), steps.end(), [](const auto& a, const auto& b) {
    return a.first->intervention < b.first->intervention;
  });
  for (const auto& [step, site] : steps) ApplyStep(*step, site, layer, row_of);
}

void PlanTap::ApplyStep(const spec::Step& step, Site at_site, int32_t layer, model::RowOf row_of) {
  const v1::Intervention& intervention = plan_.request.interventions(step.intervention);
  const spec::SiteEntry& site = *spec::FindSite(spec::ToProto(at_site));
  const model::RowValue row = row_of(at_site, step.row);
  const spec::Region target = Within(*step.target, site, row);
  const at::Tensor before = target.Read(row.value);
  at::Tensor source;
  if (intervention.has_mean()) {
    source = Read(*step.source, site, row);
  } else if (intervention.has_patch()) {
    source =
        Read(*step.source, site,
             step.source_layer == layer ? row_of(at_site, step.source_row)
                                        : kept_.at({step.source_layer, at_site, step.source_row}));
  }
  at::Tensor after = spec::Apply({.intervention = intervention,
                                  .site = site,
                                  .target = *step.target,
                                  .current = before,
                                  .source = source,
                                  .operand = operands_[step.intervention],
                                  .index = step.intervention,
                                  .layer = layer,
                                  .prompt = plan_.rows[step.row].prompt,
                                  .inner = row.value.size(-1)});
  const at::Tensor mask =
      spec::ChangeMask(intervention, site, *step.target, row.value.size(-1), row.value.device());
  if (mask.defined()) after = at::where(mask, after, before);
  Note(step, before, after, mask);
  target.Write(row.value, after);
}

void PlanTap::Note(const spec::Step& step, const at::Tensor& before, const at::Tensor& after,
                   const at::Tensor& mask) {
  Effect& effect = effects_[step.intervention];
  ++effect.places;
  const at::Tensor difference = (after - before).abs();
  const at::Tensor changed = (before.view(at::kInt) != after.view(at::kInt)).sum();
  const at::Tensor max_change = at::where(difference.isfinite(), difference, 0.0f).max();
  // A mask is of one head: every selected head has it.
  const at::Tensor selected = mask.defined()
                                  ? mask.sum() * step.target->axis(0).size()
                                  : at::full({}, step.target->elements(), changed.options());
  const bool first = !effect.changed.defined();
  effect.selected = first ? selected : effect.selected + selected;
  effect.changed = first ? changed : effect.changed + changed;
  effect.max_change = first ? max_change : at::maximum(effect.max_change, max_change);
  at::Tensor& in_row = changed_[step.row];
  in_row = in_row.defined() ? in_row + changed : changed;
}

// Entry i of the hidden states is the output of block i - 1, but the last comes from behind the
// final LayerNorm.
std::optional<int32_t> PlanTap::HiddenStatesEntry(Site site, int32_t layer) const {
  const int32_t n_layer = static_cast<int32_t>(plan_.block_outputs.size());
  if (!plan_.request.output_hidden_states()) return std::nullopt;
  if (site == Site::kResidPost && layer + 1 < n_layer) return layer + 1;
  if (site == Site::kLnFOut) return n_layer;
  return std::nullopt;
}

void PlanTap::SendWhole(Site site, int32_t layer, model::RowOf row_of) {
  const bool in_tuple =
      (site == Site::kResidPost || site == Site::kPattern) && plan_.block_outputs[layer];
  const std::optional<int32_t> entry = HiddenStatesEntry(site, layer);
  if (!in_tuple && !entry) return;
  const v1::DataType dtype = plan_.request.block_outputs().dtype();
  for (size_t g = 0; g < plan_.groups.size(); ++g) {
    const spec::LengthGroup& group = plan_.groups[g];
    const at::Tensor batch = Batch(site, row_of, group, dtype, FutureOf(site));
    if (in_tuple) tuples_[g].push_back(sender_.Prepare(TupleHeader(site, layer, group), batch));
    if (entry) sender_.Defer(sender_.Prepare(HiddenStatesHeader(site, *entry, group), batch));
  }
}

void PlanTap::SendEmbeddings(model::RowOf row_of) {
  const v1::DataType dtype = plan_.request.block_outputs().dtype();
  for (const spec::LengthGroup& group : plan_.groups) {
    sender_.Defer(sender_.Prepare(HiddenStatesHeader(Site::kResidPre, 0, group),
                                  Batch(Site::kResidPre, row_of, group, dtype, Future::kChanges)));
  }
}

v1::TensorHeader PlanTap::BatchHeader(Site site, const spec::LengthGroup& group) const {
  v1::TensorHeader header;
  header.set_site(spec::ToProto(site));
  for (const int32_t row : group.rows) header.add_prompts(plan_.rows[row].prompt);
  header.set_clean(group.clean);
  return header;
}

v1::TensorHeader PlanTap::TupleHeader(Site site, int32_t layer,
                                      const spec::LengthGroup& group) const {
  const bool attentions = site == Site::kPattern;
  v1::TensorHeader header = BatchHeader(site, group);
  header.set_kind(attentions ? v1::TENSOR_KIND_BLOCK_ATTENTIONS
                             : v1::TENSOR_KIND_BLOCK_HIDDEN_STATES);
  header.set_name(absl::StrCat("block_outputs[", layer, "][", attentions ? 1 : 0, "]"));
  header.set_layer(layer);
  header.set_moment(v1::MOMENT_AFTER);
  return header;
}

v1::TensorHeader PlanTap::HiddenStatesHeader(Site site, int32_t entry,
                                             const spec::LengthGroup& group) const {
  v1::TensorHeader header = BatchHeader(site, group);
  header.set_kind(v1::TENSOR_KIND_HIDDEN_STATES);
  header.set_name(absl::StrCat("hidden_states[", entry, "]"));
  header.set_index(entry);
  return header;
}

bool PlanTap::LayerDone(int32_t layer) {
  FlushStatistics(layer);
  FlushBlockOutputs(layer);
  sender_.Flush();
  return true;
}

void PlanTap::FlushStatistics(int32_t layer) {
  if (measured_.empty()) return;
  std::vector<at::Tensor> numbers;
  for (const Measured& measured : measured_) numbers.push_back(measured.numbers);
  const at::Tensor host = at::cat(numbers).cpu();  // one wait for the device in each layer
  absl::Span<const double> rest(host.const_data_ptr<double>(), host.numel());
  Event event;
  v1::LayerStatistics* statistics = event.message.mutable_layer_statistics();
  SetLayer(layer, statistics);
  for (const Measured& measured : measured_) {
    const v1::Probe& probe = plan_.request.probes(measured.observation->index);
    const spec::SiteEntry& site = *spec::FindSite(spec::ToProto(measured.site));
    const spec::PlanRow& row = plan_.rows[measured.observation->row];
    v1::ProbeResult* result = statistics->add_results();
    result->set_index(measured.observation->index);
    result->set_name(probe.name());
    result->set_site(site.site);
    SetLayer(measured.layer, result);
    result->set_prompt(row.prompt);
    result->set_clean(row.clean);
    result->set_moment(probe.moment());
    spec::FillResult(probe, site, *measured.observation->region,
                     rest.first(measured.numbers.numel()), result);
    rest.remove_prefix(measured.numbers.numel());
  }
  measured_.clear();
  sink_.Push(std::move(event));
}

void PlanTap::FlushBlockOutputs(int32_t layer) {
  for (size_t g = 0; g < tuples_.size(); ++g) {
    std::vector<TensorEvent>& tuple = tuples_[g];
    if (tuple.empty()) continue;
    std::reverse(tuple.begin(), tuple.end());  // the pattern is computed first, but stands second
    Event event;
    v1::BlockOutput* output = event.message.mutable_block_output();
    output->set_layer(layer);
    for (const int32_t row : plan_.groups[g].rows) output->add_prompts(plan_.rows[row].prompt);
    output->set_clean(plan_.groups[g].clean);
    for (const TensorEvent& element : tuple) output->add_tensor_ids(element.header.tensor_id());
    sink_.Push(std::move(event));
    for (TensorEvent& element : tuple) sender_.Send(std::move(element));
    tuple.clear();
  }
}

void PlanTap::SendRest() {
  FlushStatistics(kNoLayer);
  sender_.Flush();
}

std::vector<v1::InterventionReport> PlanTap::Reports() const {
  std::vector<v1::InterventionReport> reports(effects_.size());
  for (size_t i = 0; i < effects_.size(); ++i) {
    const Effect& effect = effects_[i];
    reports[i].set_index(static_cast<int32_t>(i));
    reports[i].set_name(plan_.request.interventions(static_cast<int>(i)).name());
    reports[i].set_sites_touched(effect.places);
    reports[i].set_elements_selected(effect.selected.item<int64_t>());
    reports[i].set_elements_changed(effect.changed.item<int64_t>());
    reports[i].set_max_abs_change(effect.max_change.item<float>());
  }
  return reports;
}

}  // namespace scalpel::engine
