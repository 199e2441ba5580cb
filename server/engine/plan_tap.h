// Carries out a plan while the model runs: edits rows, measures them, and sends what they were
// asked for.

#ifndef SCALPEL_SERVER_ENGINE_PLAN_TAP_H_
#define SCALPEL_SERVER_ENGINE_PLAN_TAP_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "server/engine/event_stream.h"
#include "server/engine/tensor_sender.h"
#include "server/model/tap.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

// Lives for one forward pass, on the engine's thread.
class PlanTap : public model::Tap {
 public:
  // All references outlive this object.
  PlanTap(const spec::Plan& plan, at::Device device, EventSink& sink, TensorSender& sender);

  bool Wants(model::Site site, int32_t layer) const override;
  bool Wants(model::Site site, int32_t layer, int32_t row) const override;
  bool Edits(model::Site site, int32_t layer, int32_t row) const override;
  void Visit(absl::Span<const model::Site> sites, int32_t layer, model::RowOf row_of) override;
  bool Changed(int32_t row) const override;
  // Sends what the layer has to say; goes on always.
  bool LayerDone(int32_t layer) override;
  bool Needs(int32_t) const override { return true; }

  // After the forward pass: what the sites behind the last block have left to send.
  void SendRest();
  // What each intervention did, in the request's order.
  std::vector<v1::InterventionReport> Reports() const;

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
  void Measure(const std::vector<spec::Observation>& probes, model::Site site, int32_t layer,
               model::RowOf row_of);
  void Capture(const std::vector<spec::Observation>& captures, model::Site site, int32_t layer,
               Future future, model::RowOf row_of);
  void ApplySteps(absl::Span<const model::Site> sites, int32_t layer, model::RowOf row_of);
  void ApplyStep(const spec::Step& step, model::Site site, int32_t layer, model::RowOf row_of);
  void Note(const spec::Step& step, const at::Tensor& before, const at::Tensor& after,
            const at::Tensor& mask);
  // Which entry of the hidden states the site is, once its visit's steps are done, if it is sent.
  std::optional<int32_t> HiddenStatesEntry(model::Site site, int32_t layer) const;
  // Block output tuples and hidden states; what is both leaves as one tensor in memory.
  void SendWhole(model::Site site, int32_t layer, model::RowOf row_of);
  // Entry 0 of the hidden states.
  void SendEmbeddings(model::RowOf row_of);
  v1::TensorHeader BatchHeader(model::Site site, const spec::LengthGroup& group) const;
  v1::TensorHeader TupleHeader(model::Site site, int32_t layer,
                               const spec::LengthGroup& group) const;
  v1::TensorHeader HiddenStatesHeader(model::Site site, int32_t entry,
                                      const spec::LengthGroup& group) const;
  void FlushStatistics(int32_t layer);
  void FlushBlockOutputs(int32_t layer);

  const spec::Plan& plan_;
  EventSink& sink_;
  TensorSender& sender_;
  std::vector<at::Tensor> operands_;  // by intervention, on the device
  std::vector<Effect> effects_;       // by intervention
  std::vector<at::Tensor> changed_;   // by row: elements changed so far, undefined for none
  // Values that a patch in a later layer reads, by (layer, site, row).
  std::map<std::tuple<int32_t, model::Site, int32_t>, model::RowValue> kept_;
  std::vector<Measured> measured_;
  // Of the layer that is computed: by group, the elements of its output tuple.
  std::vector<std::vector<TensorEvent>> tuples_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_PLAN_TAP_H_
