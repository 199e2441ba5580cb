// The statistics of a probe. They are computed in double precision on the device of the
// activations, into one flat tensor, so that the numbers of a layer need only one copy to the host.
// On a CPU their bits depend neither on the CPU nor on the number of threads.

#ifndef SCALPEL_SERVER_SPEC_STATS_H_
#define SCALPEL_SERVER_SPEC_STATS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "proto/scalpel/v1/observation.pb.h"
#include "server/model/tensor.h"
#include "server/spec/selection.h"

namespace scalpel::spec {

// Returns whether a statistic of the probe compares with the clean run.
bool NeedsClean(const v1::Probe& probe);

// Returns whether the probe keeps an axis (a v1::Axis).
bool Keeps(const v1::Probe& probe, int axis);

// Returns the lengths of the axes that the probe keeps, in the site's order.
std::vector<int64_t> KeptShape(const v1::Probe& probe, const SiteEntry& site, const Region& region);

// Returns how many numbers Measure returns.
int64_t MeasuredCount(const v1::Probe& probe, const SiteEntry& site, const Region& region);

// Returns the probe's numbers for one row, [MeasuredCount] double, on the device of `value`, in the
// order of MeasureOnHost. `value` is the selected part of the site, region.shape(), float32.
// `clean` is that part in the clean run; it may be undefined unless NeedsClean.
at::Tensor Measure(const v1::Probe& probe, const SiteEntry& site, const Region& region,
                   const at::Tensor& value, const at::Tensor& clean);

// Fills in all of `result` but where it was measured: what the probe says of itself, and the shape,
// statistics, quantiles and histogram, from what Measure returned.
void FillResult(const v1::Probe& probe, const SiteEntry& site, const Region& region,
                absl::Span<const double> numbers, v1::ProbeResult* result);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_STATS_H_
