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

// The rows of a group along a new batch axis.
at::Tensor Batch(const model::SiteValue& value, const spec::LengthGroup& group) {
  std::vector<at::Tensor> rows;
  for (const int32_t row : group.rows) rows.push_back(value.rows[row]);
  return at::stack(rows);
}

}  // namespace

PlanTap::PlanTap(const spec::Plan& plan, at::Device device, EventStream& stream,
                 TensorSender& sender, std::function<bool()> keep_going)
    : plan_(plan),
      stream_(stream),
      sender_(sender),
      keep_going_(std::move(keep_going)),
      effects_(plan.request.interventions_size()),
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

bool PlanTap::Edits(Site site, int32_t layer) const {
  const spec::SitePlan* plan = Find(site, layer);
  return plan != nullptr && !plan->steps.empty();
}

void PlanTap::Visit(absl::Span<const model::SiteValue> values, int32_t layer) {
  for (const model::SiteValue& value : values) {
    if (value.site == Site::kResidPre && SendsWhole(value.site, layer)) SendHiddenStates(value, 0);
    if (const auto* plan = Find(value.site, layer))
      Observe(plan->probes_before, plan->captures_before, value, layer);
  }
  ApplySteps(values, layer);
  for (const model::SiteValue& value : values) {
    if (SendsWhole(value.site, layer)) SendWhole(value, layer);
    const spec::SitePlan* plan = Find(value.site, layer);
    if (plan == nullptr) continue;
    Observe(plan->probes_after, plan->captures_after, value, layer);
    for (const int32_t row : plan->kept_rows)
      kept_[{layer, value.site, row}] = value.rows[row].clone();
  }
}

void PlanTap::Observe(const std::vector<spec::Observation>& probes,
                      const std::vector<spec::Observation>& captures, const model::SiteValue& value,
                      int32_t layer) {
  const spec::SiteEntry& site = *spec::FindSite(spec::ToProto(value.site));
  for (const spec::Observation& observation : probes) {
    at::Tensor clean;
    if (observation.clean_row) clean = observation.region->Read(value.rows[*observation.clean_row]);
    measured_.push_back(
        {&observation, value.site, layer,
         spec::Measure(plan_.request.probes(observation.index), site, *observation.region,
                       observation.region->Read(value.rows[observation.row]), clean)});
  }
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
    header.set_dtype(capture.dtype());
    header.set_moment(capture.moment());
    sender_.Defer(
        sender_.Prepare(std::move(header), observation.region->Read(value.rows[observation.row])));
  }
}

// In the request's order over all sites that share this storage.
void PlanTap::ApplySteps(absl::Span<const model::SiteValue> values, int32_t layer) {
  std::vector<std::pair<const spec::Step*, const model::SiteValue*>> steps;
  for (const model::SiteValue& value : values) {
    const spec::SitePlan* plan = Find(value.site, layer);
    if (plan == nullptr) continue;
    for (const spec::Step& step : plan->steps) steps.emplace_back(&step, &value);
  }
  std::stable_sort(steps.begin(), steps.end(), [](const auto& a, const auto& b) {
    return a.first->intervention < b.first->intervention;
  });
  for (const auto& [step, value] : steps) ApplyStep(*step, *value, layer);
}

void PlanTap::ApplyStep(const spec::Step& step, const model::SiteValue& value, int32_t layer) {
  const v1::Intervention& intervention = plan_.request.interventions(step.intervention);
  const spec::SiteEntry& site = *spec::FindSite(spec::ToProto(value.site));
  const at::Tensor& row = value.rows[step.row];
  const at::Tensor before = step.target->Read(row);
  at::Tensor source;
  if (intervention.has_mean()) {
    source = step.source->Read(row);
  } else if (intervention.has_patch()) {
    source = step.source->Read(step.source_layer == layer
                                   ? value.rows[step.source_row]
                                   : kept_.at({step.source_layer, value.site, step.source_row}));
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
                                  .inner = row.size(-1)});
  const at::Tensor mask =
      spec::ChangeMask(intervention, site, *step.target, row.size(-1), row.device());
  if (mask.defined()) after = at::where(mask, after, before);
  Note(step, before, after, mask);
  step.target->Write(row, after);
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
}

void PlanTap::SendWhole(const model::SiteValue& value, int32_t layer) {
  const bool attentions = value.site == Site::kPattern;
  if (value.site == Site::kResidPost || attentions) {
    for (size_t g = 0; plan_.block_outputs[layer] && g < plan_.groups.size(); ++g) {
      v1::TensorHeader header;
      header.set_kind(attentions ? v1::TENSOR_KIND_BLOCK_ATTENTIONS
                                 : v1::TENSOR_KIND_BLOCK_HIDDEN_STATES);
      header.set_name(absl::StrCat("block_outputs[", layer, "][", attentions ? 1 : 0, "]"));
      header.set_site(spec::ToProto(value.site));
      header.set_layer(layer);
      for (const int32_t row : plan_.groups[g].rows) header.add_prompts(plan_.rows[row].prompt);
      header.set_clean(plan_.groups[g].clean);
      header.set_dtype(plan_.request.block_outputs().dtype());
      header.set_moment(v1::MOMENT_AFTER);
      tuples_[g].push_back(sender_.Prepare(std::move(header), Batch(value, plan_.groups[g])));
    }
  }
  // Entry i is the output of block i - 1, but the last comes from behind the final LayerNorm.
  const int32_t n_layer = static_cast<int32_t>(plan_.block_outputs.size());
  if (!plan_.request.output_hidden_states()) return;
  if (value.site == Site::kResidPost && layer + 1 < n_layer) SendHiddenStates(value, layer + 1);
  if (value.site == Site::kLnFOut) SendHiddenStates(value, n_layer);
}

void PlanTap::SendHiddenStates(const model::SiteValue& value, int32_t index) {
  for (const spec::LengthGroup& group : plan_.groups) {
    v1::TensorHeader header;
    header.set_kind(v1::TENSOR_KIND_HIDDEN_STATES);
    header.set_name(absl::StrCat("hidden_states[", index, "]"));
    header.set_site(spec::ToProto(value.site));
    header.set_index(index);
    for (const int32_t row : group.rows) header.add_prompts(plan_.rows[row].prompt);
    header.set_clean(group.clean);
    header.set_dtype(plan_.request.block_outputs().dtype());
    sender_.Defer(sender_.Prepare(std::move(header), Batch(value, group)));
  }
}

bool PlanTap::LayerDone(int32_t layer) {
  FlushStatistics(layer);
  FlushBlockOutputs(layer);
  sender_.Flush();
  return keep_going_();
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
  stream_.Push(std::move(event));
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
    stream_.Push(std::move(event));
    for (TensorEvent& element : tuple) sender_.Send(std::move(element));
    tuple.clear();
  }
}

void PlanTap::SendRest() {
  FlushStatistics(kNoLayer);
  sender_.Flush();
}

void PlanTap::SendReports() {
  for (size_t i = 0; i < effects_.size(); ++i) {
    const Effect& effect = effects_[i];
    Event event;
    v1::InterventionReport* report = event.message.mutable_intervention_report();
    report->set_index(static_cast<int32_t>(i));
    report->set_name(plan_.request.interventions(static_cast<int>(i)).name());
    report->set_sites_touched(effect.places);
    report->set_elements_selected(effect.selected.item<int64_t>());
    report->set_elements_changed(effect.changed.item<int64_t>());
    report->set_max_abs_change(effect.max_change.item<float>());
    stream_.Push(std::move(event));
  }
}

}  // namespace scalpel::engine
