// Carries out one plan while the model runs: at each site it applies the plan's steps and reads
// what the plan observes, and after each layer it sends what came of that.

#ifndef SCALPEL_SERVER_ENGINE_PLAN_TAP_H_
#define SCALPEL_SERVER_ENGINE_PLAN_TAP_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "server/engine/editor.h"
#include "server/engine/event_stream.h"
#include "server/engine/observer.h"
#include "server/engine/tensor_sender.h"
#include "server/model/tap.h"
#include "server/model/tensor.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

// The plan's part of a forward pass. It is not a model::Tap: a pass may carry many plans, and the
// one Tap of the pass (WaveTap, or the search for a first NaN) shows each plan its own rows, by
// their numbers in the plan, and decides when the pass ends.
//
// Lives for one pass, on the engine's thread. Throws what libtorch throws.
//
// The plan's caller may leave at any time. `wanted` is asked before each step and each observation,
// and once it has said no, stopped() holds: nothing more is read, written or sent, and neither
// Reports nor the answer's logits mean anything. The rows go on through the pass until the Tap says
// that they are not needed.
class PlanTap {
 public:
  // All references outlive this object. `wanted`: whether the answer is still waited for.
  PlanTap(const spec::Plan& plan, at::Device device, EventSink& sink, TensorSender& sender,
          std::function<bool()> wanted);

  // As model::Tap says of them, for this plan's rows.
  bool Wants(model::Site site, int32_t layer) const;
  bool Wants(model::Site site, int32_t layer, int32_t row) const;
  bool Edits(model::Site site, int32_t layer, int32_t row) const;
  void Visit(absl::Span<const model::Site> sites, int32_t layer, model::RowOf row_of);
  bool Changed(int32_t row) const { return editor_.Changed(row); }

  // Sends what the layer has to say, unless stopped.
  void FinishLayer(int32_t layer);
  // After the forward pass: sends what the sites behind the last block have to say.
  void FinishPass() { FinishLayer(model::kNoLayer); }
  bool stopped() const { return stopped_; }

  // After the forward pass, unless stopped: what each intervention did, in the request's order.
  std::vector<v1::InterventionReport> Reports() const { return editor_.Reports(); }

 private:
  bool GoesOn();

  const spec::Plan& plan_;
  const std::function<bool()> wanted_;
  Editor editor_;
  Observer observer_;
  bool stopped_ = false;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_PLAN_TAP_H_
