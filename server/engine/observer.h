// Carries out a plan's observations during a forward pass, and sends what comes of them.

#ifndef SCALPEL_SERVER_ENGINE_OBSERVER_H_
#define SCALPEL_SERVER_ENGINE_OBSERVER_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "server/engine/event_stream.h"
#include "server/engine/tensor_sender.h"
#include "server/model/tap.h"
#include "server/model/tensor.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

// Lives for one forward pass, on the engine's thread. Nothing leaves before Flush: the numbers of
// all probes of a layer are read back from the device at once, in one event.
class Observer {
 public:
  // All references outlive this object.
  Observer(const spec::Plan& plan, EventSink& sink, TensorSender& sender)
      : plan_(plan), sink_(sink), sender_(sender) {}

  // Reads what each observation says at this site, in their order. `future`: what becomes of the
  // site's values afterwards. `goes_on` is asked before each; false ends the work.
  void Observe(const std::vector<spec::Observation>& observations, model::Site site, int32_t layer,
               Future future, model::RowOf row_of, absl::FunctionRef<bool()> goes_on);

  // Sends what has been read since the last Flush: statistics, in an event of `layer`; then, batch
  // by batch, the layer's output tuples with their elements; then all other tensors.
  void Flush(int32_t layer);

 private:
  struct Measured {  // a probe's numbers, still on the device
    const spec::Observation* observation;
    model::Site site;
    int32_t layer;
    at::Tensor numbers;
  };
  struct Element {  // of a block's output tuple
    const spec::Observation* observation;
    int32_t index;
    TensorEvent tensor;
  };
  using Tuple = std::vector<Element>;
  struct Host {  // the last tensor that was made for sending, and of what
    const spec::Region* region = nullptr;
    absl::Span<const int32_t> rows;
    v1::DataType dtype = v1::DATA_TYPE_UNSPECIFIED;
    bool batched = false;
    at::Tensor tensor;
  };

  void Measure(const spec::Observation& observation, model::Site site, int32_t layer,
               model::RowOf row_of);
  void Send(const spec::Observation& observation, model::Site site, int32_t layer, Future future,
            model::RowOf row_of, Host& last);
  at::Tensor ToHostAt(const spec::Observation& observation, model::Site site, Future future,
                      model::RowOf row_of) const;
  v1::TensorHeader HeaderOf(const spec::Observation& observation, model::Site site,
                            int32_t layer) const;
  void AddToTuple(Element element);
  void FlushStatistics(int32_t layer);
  void FlushTuples(int32_t layer);

  const spec::Plan& plan_;
  EventSink& sink_;
  TensorSender& sender_;
  std::vector<Measured> measured_;
  std::vector<Tuple> tuples_;  // by batch, of the layer that is being computed
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_OBSERVER_H_
