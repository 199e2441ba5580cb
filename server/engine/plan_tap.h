// Carries out a plan while the model runs: edits rows, measures them, and sends what they were
// asked for.

#ifndef SCALPEL_SERVER_ENGINE_PLAN_TAP_H_
#define SCALPEL_SERVER_ENGINE_PLAN_TAP_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "server/engine/event_stream.h"
#include "server/engine/tensor_sender.h"
#include "server/model/gpt2.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

// Lives for one forward pass, on the engine's thread.
class PlanTap : public model::Tap {
 public:
  // `keep_going` is asked after each layer. All references outlive this object.
  PlanTap(const spec::Plan& plan, at::Device device, EventStream& stream, TensorSender& sender,
          std::function<bool()> keep_going);

  bool Wants(model::Site site, int32_t layer) const override;
  bool Edits(model::Site site, int32_t layer) const override;
  void Visit(absl::Span<const model::SiteValue> values, int32_t layer) override;
  bool LayerDone(int32_t layer) override;

  // After the forward pass: what the sites behind the last block have left to send.
  void SendRest();
  // What each intervention did.
  void SendReports();

 private:
  struct Measured {  // a probe's numbers, still on the device
    const spec::Observation* observation;
    model::Site site;
    int32_t layer;
    at::Tensor numbers;
  };
  struct Effect {  // of one intervention so far; tensors on the device
    int64_t places = 0;
    at::Tensor selected, changed;  // int64 scalars
    at::Tensor max_change;         // float scalar
  };

  const spec::SitePlan* Find(model::Site site, int32_t layer) const;
  bool SendsWhole(model::Site site, int32_t layer) const;
  void Observe(const std::vector<spec::Observation>& probes,
               const std::vector<spec::Observation>& captures, const model::SiteValue& value,
               int32_t layer);
  void ApplySteps(absl::Span<const model::SiteValue> values, int32_t layer);
  void ApplyStep(const spec::Step& step, const model::SiteValue& value, int32_t layer);
  void Note(const spec::Step& step, const at::Tensor& before, const at::Tensor& after,
            const at::Tensor& mask);
  // Block output tuples and hidden states.
  void SendWhole(const model::SiteValue& value, int32_t layer);
  void SendHiddenStates(const model::SiteValue& value, int32_t index);
  void FlushStatistics(int32_t layer);
  void FlushBlockOutputs(int32_t layer);

  const spec::Plan& plan_;
  EventStream& stream_;
  TensorSender& sender_;
  const std::function<bool()> keep_going_;
  std::vector<at::Tensor> operands_;  // by intervention, on the device
  std::vector<Effect> effects_;       // by intervention
  // Values that a patch in a later layer reads, by (layer, site, row).
  std::map<std::tuple<int32_t, model::Site, int32_t>, at::Tensor> kept_;
  std::vector<Measured> measured_;
  // Of the layer that is computed: by group, the elements of its output tuple.
  std::vector<std::vector<TensorEvent>> tuples_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_PLAN_TAP_H_
