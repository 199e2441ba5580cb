#include "server/engine/plan_tap.h"

#include <algorithm>
#include <utility>

namespace scalpel::engine {

using model::Site;

namespace {

bool AnyReads(const std::vector<spec::Observation>& observations, int32_t row) {
  return std::any_of(observations.begin(), observations.end(),
                     [row](const spec::Observation& each) { return each.Reads(row); });
}

// Of a site once the steps of its visit are done. Nothing writes to a pattern behind its visit;
// every other site may be written to, as the residual stream is, in place, by site after site.
Future FutureOf(Site site) { return site == Site::kPattern ? Future::kFinal : Future::kChanges; }

}  // namespace

PlanTap::PlanTap(const spec::Plan& plan, at::Device device, EventSink& sink, TensorSender& sender,
                 std::function<bool()> wanted)
    : plan_(plan),
      wanted_(std::move(wanted)),
      editor_(plan, device),
      observer_(plan, sink, sender) {}

bool PlanTap::GoesOn() {
  stopped_ = stopped_ || !wanted_();
  return !stopped_;
}

bool PlanTap::Wants(Site site, int32_t layer) const { return plan_.Find(layer, site) != nullptr; }

bool PlanTap::Wants(Site site, int32_t layer, int32_t row) const {
  const spec::SitePlan* plan = plan_.Find(layer, site);
  if (plan == nullptr) return false;
  const auto& kept = plan->kept_rows;
  return AnyReads(plan->before, row) || AnyReads(plan->after, row) ||
         std::find(kept.begin(), kept.end(), row) != kept.end() ||
         std::any_of(plan->steps.begin(), plan->steps.end(), [&](const spec::Step& step) {
           return step.row == row ||
                  (step.source && step.source->row == row && step.source->layer == layer);
         });
}

bool PlanTap::Edits(Site site, int32_t layer, int32_t row) const {
  const spec::SitePlan* plan = plan_.Find(layer, site);
  return plan != nullptr && std::any_of(plan->steps.begin(), plan->steps.end(),
                                        [row](const spec::Step& step) { return step.row == row; });
}

// All that is read before the steps is read before any step: sites that share one storage (QKV and
// its views) would else see each other's edits.
void PlanTap::Visit(absl::Span<const Site> sites, int32_t layer, model::RowOf row_of) {
  const auto goes_on = [this] { return GoesOn(); };
  for (const Site site : sites) {
    if (const spec::SitePlan* plan = plan_.Find(layer, site))
      observer_.Observe(plan->before, site, layer, Future::kChanges, row_of, goes_on);
  }
  editor_.Apply(sites, layer, row_of, goes_on);
  for (const Site site : sites) {
    const spec::SitePlan* plan = plan_.Find(layer, site);
    if (plan == nullptr) continue;
    observer_.Observe(plan->after, site, layer, FutureOf(site), row_of, goes_on);
    if (!stopped_) editor_.Keep(*plan, site, layer, row_of);
  }
}

void PlanTap::FinishLayer(int32_t layer) {
  if (!stopped_) observer_.Flush(layer);
}

}  // namespace scalpel::engine
