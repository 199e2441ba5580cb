// Statistics of samples on the CPU, whose bits depend neither on the CPU nor on the threads.

#ifndef SCALPEL_SERVER_SPEC_HOST_STATS_H_
#define SCALPEL_SERVER_SPEC_HOST_STATS_H_

#include "proto/scalpel/v1/observation.pb.h"
#include "server/model/tensor.h"
#include "server/spec/samples.h"

namespace scalpel::spec {

// Returns the numbers that the probe asks for in one flat tensor of doubles: the statistics,
// [statistics, kept]; the quantiles, [quantiles, kept]; and for a histogram the counts, [kept,
// bins], and how many samples are below its range, [kept], and above it, [kept]. `samples` must be
// on the CPU, and hold the clean run if a statistic needs it. Runs on all threads of ParallelFor.
at::Tensor MeasureOnHost(const v1::Probe& probe, const Samples& samples);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_HOST_STATS_H_
