// The statistics of a probe. Everything is computed where the activations are, in double precision,
// into one flat tensor that is read back once a layer. On the CPU it has the same bits on every CPU
// and for any number of threads.

#ifndef SCALPEL_SERVER_SPEC_STATS_H_
#define SCALPEL_SERVER_SPEC_STATS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "proto/scalpel/v1/observation.pb.h"
#include "server/model/tensor.h"
#include "server/spec/selection.h"

namespace scalpel::spec {

// Whether a statistic of the probe compares with the clean run.
bool NeedsClean(const v1::Probe& probe);

// Lengths of the axes that the probe keeps, in the site's order.
std::vector<int64_t> KeptShape(const v1::Probe& probe, const SiteEntry& site, const Region& region);

// How many numbers Measure returns.
int64_t MeasuredCount(const v1::Probe& probe, const SiteEntry& site, const Region& region);

// The probe's numbers for one row, [MeasuredCount] double, on the device of `value`.
// `value`: the selected part, region.shape(), float32. `clean`: the same of the clean run;
// undefined unless a statistic needs it.
at::Tensor Measure(const v1::Probe& probe, const SiteEntry& site, const Region& region,
                   const at::Tensor& value, const at::Tensor& clean);

// Fills in all of `result` but where it was measured: what the probe says of itself, and the shape,
// statistics, quantiles and histogram, from what Measure returned.
void FillResult(const v1::Probe& probe, const SiteEntry& site, const Region& region,
                absl::Span<const double> numbers, v1::ProbeResult* result);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_STATS_H_
