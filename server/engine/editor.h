// Applies a plan's steps to the activations of a forward pass, and keeps account of what they did.

#ifndef SCALPEL_SERVER_ENGINE_EDITOR_H_
#define SCALPEL_SERVER_ENGINE_EDITOR_H_

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "proto/scalpel/v1/intervention.pb.h"
#include "server/model/tap.h"
#include "server/model/tensor.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

// A step is carried out without knowing its operation: its target is read, its source too if it has
// one, spec::Apply makes the new values of them, and these are written back where the step may
// change anything. Lives for one forward pass, on the engine's thread. Nothing is read back from
// the device until Changed or Reports asks.
class Editor {
 public:
  // Copies operands to `device`. `plan` outlives this object.
  Editor(const spec::Plan& plan, at::Device device);

  // Applies the steps at sites that share one storage, in the order of the request over all of
  // them. `goes_on` is asked before each step; false ends the work.
  void Apply(absl::Span<const model::Site> sites, int32_t layer, model::RowOf row_of,
             absl::FunctionRef<bool()> goes_on);
  // Copies what steps of later layers read here; to be called when Apply is done with the site.
  void Keep(const spec::SitePlan& plan, model::Site site, int32_t layer, model::RowOf row_of);

  // Whether a step has changed a bit of the row so far. Waits for the device.
  bool Changed(int32_t row) const;
  // What each intervention did, in the request's order. Every step must have been applied. Waits
  // for the device.
  std::vector<v1::InterventionReport> Reports() const;

 private:
  struct Effect {  // of one edit so far; tensors on the device
    int64_t places = 0;
    at::Tensor selected, changed;  // int64 scalars
    at::Tensor max_change;         // float scalar
  };

  void ApplyStep(const spec::Step& step, model::Site site, int32_t layer, model::RowOf row_of);
  void Note(const spec::Step& step, const at::Tensor& before, const at::Tensor& after,
            const at::Tensor& mask);

  const spec::Plan& plan_;
  std::vector<at::Tensor> operands_;  // by edit, on the device
  std::vector<Effect> effects_;       // by edit
  std::vector<at::Tensor> changed_;   // by row: elements changed so far, undefined for none
  // By (layer, site, row).
  std::map<std::tuple<int32_t, model::Site, int32_t>, model::RowValue> kept_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_EDITOR_H_
