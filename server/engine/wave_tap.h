// Shows each task of a wave its own rows, as if it were alone.

#ifndef SCALPEL_SERVER_ENGINE_WAVE_TAP_H_
#define SCALPEL_SERVER_ENGINE_WAVE_TAP_H_

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/functional/function_ref.h"
#include "server/engine/job.h"
#include "server/engine/plan_tap.h"
#include "server/engine/task.h"
#include "server/engine/tensor_sender.h"
#include "server/model/tap.h"
#include "server/model/tensor.h"

namespace scalpel::engine {

// What a task's own part of the pass throws (its edits, its measurements, its events) is that
// task's failure: it leaves the pass as if its caller had left, and the others go on.
//
// Lives for one forward pass, on the engine's thread.
class WaveTap final : public model::Tap {
 public:
  // A task in the pass: rows [begin, begin + its plan's rows).
  struct Seat {
    Seat(Task& its_task, int32_t first_row, at::Device device, absl::FunctionRef<void()> pause)
        : task(its_task),
          begin(first_row),
          sender(*task.sink),
          tap(*task.plan, device, *task.sink, sender, [this, pause] {
            pause();
            return task.job->stream().StillWanted().ok();
          }) {}
    Seat(const Seat&) = delete;  // `tap` refers to this object.
    Task& task;
    const int32_t begin;
    bool wanted = true;  // its call still waits, and it has not failed
    TensorSender sender;
    PlanTap tap;
  };

  // `pause`: see RunWave. It outlives this object.
  explicit WaveTap(absl::FunctionRef<void()> pause) : pause_(pause) {}

  // Seats are taken in order. References outlive this object.
  void Add(Task& task, at::Device device);
  std::deque<Seat>& seats() { return seats_; }

  bool Wants(model::Site site, int32_t layer) const override;
  bool Wants(model::Site site, int32_t layer, int32_t row) const override;
  bool Edits(model::Site site, int32_t layer, int32_t row) const override;
  void Visit(absl::Span<const model::Site> sites, int32_t layer, model::RowOf row_of) override;
  bool Changed(int32_t row) const override;
  bool LayerDone(int32_t layer) override;
  bool GoesOn() override;
  bool Needs(int32_t row) const override { return SeatOf(row).wanted; }

 private:
  const Seat& SeatOf(int32_t row) const { return seats_[seat_of_row_[row]]; }

  const absl::FunctionRef<void()> pause_;
  std::deque<Seat> seats_;
  std::vector<size_t> seat_of_row_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_WAVE_TAP_H_
