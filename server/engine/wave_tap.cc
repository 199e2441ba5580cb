#include "server/engine/wave_tap.h"

#include <algorithm>

#include "server/engine/failure.h"
#include "server/engine/fault_points.h"

namespace scalpel::engine {
namespace {

using model::Site;

// Runs a part of the pass that is the seat's alone.
template <typename Part>
void RunOwn(WaveTap::Seat& seat, Part part) {
  seat.task.failure = FailureOf(part);
  if (seat.task.failure != nullptr) seat.wanted = false;
}

}  // namespace

void WaveTap::Add(Task& task, at::Device device) {
  const int32_t begin = static_cast<int32_t>(seat_of_row_.size());
  seat_of_row_.insert(seat_of_row_.end(), task.plan->rows.size(), seats_.size());
  seats_.emplace_back(task, begin, device, pause_);
}

bool WaveTap::Wants(Site site, int32_t layer) const {
  return std::any_of(seats_.begin(), seats_.end(),
                     [&](const Seat& seat) { return seat.wanted && seat.tap.Wants(site, layer); });
}

bool WaveTap::Wants(Site site, int32_t layer, int32_t row) const {
  const Seat& seat = SeatOf(row);
  return seat.wanted && seat.tap.Wants(site, layer, row - seat.begin);
}

bool WaveTap::Edits(Site site, int32_t layer, int32_t row) const {
  const Seat& seat = SeatOf(row);
  return seat.wanted && seat.tap.Edits(site, layer, row - seat.begin);
}

void WaveTap::Visit(absl::Span<const Site> sites, int32_t layer, model::RowOf row_of) {
  for (Seat& seat : seats_) {
    if (!seat.wanted) continue;
    const bool looks = std::any_of(sites.begin(), sites.end(),
                                   [&](Site site) { return seat.tap.Wants(site, layer); });
    if (!looks) continue;
    RunOwn(seat, [&] {
      PassFaultPoint(FaultPoint::kVisit, seat.task.job->stream().request_id());
      seat.tap.Visit(sites, layer,
                     [&](Site site, int32_t row) { return row_of(site, seat.begin + row); });
    });
    if (seat.tap.stopped()) seat.wanted = false;
  }
}

bool WaveTap::Changed(int32_t row) const {
  const Seat& seat = SeatOf(row);
  return seat.tap.Changed(row - seat.begin);
}

bool WaveTap::LayerDone(int32_t layer) {
  for (Seat& seat : seats_) {
    if (!seat.wanted) continue;
    PassFaultPoint(FaultPoint::kLayer, seat.task.job->stream().request_id());
    RunOwn(seat, [&] { seat.tap.FinishLayer(layer); });
  }
  return GoesOn();
}

bool WaveTap::GoesOn() {
  pause_();
  bool any = false;
  for (Seat& seat : seats_) {
    seat.wanted = seat.wanted && seat.task.job->stream().StillWanted().ok();
    any = any || seat.wanted;
  }
  return any;
}

}  // namespace scalpel::engine
