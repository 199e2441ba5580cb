#include "server/engine/editor.h"

#include <algorithm>
#include <utility>

#include "server/engine/row_part.h"
#include "server/spec/ops.h"

namespace scalpel::engine {

using model::Site;

Editor::Editor(const spec::Plan& plan, at::Device device)
    : plan_(plan), effects_(plan.edits.size()), changed_(plan.rows.size()) {
  for (const spec::Edit& edit : plan.edits)
    operands_.push_back(edit.operand.defined() ? edit.operand.to(device) : edit.operand);
}

void Editor::Apply(absl::Span<const Site> sites, int32_t layer, model::RowOf row_of,
                   absl::FunctionRef<bool()> goes_on) {
  // A write to K is one to QKV too, so that the request's order counts across the sites. Within one
  // intervention the plan's order stays: a prompt that the others read comes last in it.
  std::vector<std::pair<const spec::Step*, Site>> steps;
  for (const Site site : sites) {
    const spec::SitePlan* plan = plan_.Find(layer, site);
    if (plan == nullptr) continue;
    for (const spec::Step& step : plan->steps) steps.emplace_back(&step, site);
  }
  std::stable_sort(steps.begin(), steps.end(),
                   [](const auto& a, const auto& b) { return a.first->edit < b.first->edit; });
  for (const auto& [step, site] : steps) {
    if (!goes_on()) return;
    ApplyStep(*step, site, layer, row_of);
  }
}

void Editor::Keep(const spec::SitePlan& plan, Site site, int32_t layer, model::RowOf row_of) {
  for (const int32_t row : plan.kept_rows) {
    model::RowValue value = row_of(site, row);
    value.value = value.value.clone();
    kept_[{layer, site, row}] = std::move(value);
  }
}

bool Editor::Changed(int32_t row) const {
  return changed_[row].defined() && changed_[row].item<int64_t>() > 0;
}

void Editor::ApplyStep(const spec::Step& step, Site at_site, int32_t layer, model::RowOf row_of) {
  const spec::SiteEntry& site = spec::EntryOf(at_site);
  const model::RowValue row = row_of(at_site, step.row);
  const spec::Region target = Within(*step.target, site, row);
  const at::Tensor before = target.Read(row.value);
  at::Tensor source;
  if (step.source) {
    source = ReadPart(*step.source->region, site,
                      step.source->layer == layer
                          ? row_of(at_site, step.source->row)
                          : kept_.at({step.source->layer, at_site, step.source->row}));
  }
  at::Tensor after = spec::Apply({.intervention = plan_.edits[step.edit].intervention,
                                  .site = site,
                                  .target = *step.target,
                                  .current = before,
                                  .source = source,
                                  .operand = operands_[step.edit],
                                  .index = step.edit,
                                  .layer = layer,
                                  .prompt = plan_.rows[step.row].prompt,
                                  .inner = row.value.size(-1)});
  const at::Tensor mask =
      spec::ChangeMask(site, *step.target, step.pairs.get(), row.value.device());
  if (mask.defined()) after = at::where(mask, after, before);
  Note(step, before, after, mask);
  target.Write(row.value, after);
}

// Bits are compared and not values: a zero that changes its sign, or one NaN for another, is a
// change. The sums stay on the device, since waiting for each would cost more than the step.
void Editor::Note(const spec::Step& step, const at::Tensor& before, const at::Tensor& after,
                  const at::Tensor& mask) {
  Effect& effect = effects_[step.edit];
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

std::vector<v1::InterventionReport> Editor::Reports() const {
  std::vector<v1::InterventionReport> reports(effects_.size());
  for (size_t i = 0; i < effects_.size(); ++i) {
    const Effect& effect = effects_[i];
    reports[i].set_index(static_cast<int32_t>(i));
    reports[i].set_name(plan_.edits[i].name);
    if (effect.places == 0) continue;  // it does not act in this pass
    reports[i].set_sites_touched(effect.places);
    reports[i].set_elements_selected(effect.selected.item<int64_t>());
    reports[i].set_elements_changed(effect.changed.item<int64_t>());
    reports[i].set_max_abs_change(effect.max_change.item<float>());
  }
  return reports;
}

}  // namespace scalpel::engine
