// The statistics of samples on the CPU: their bits do not depend on the CPU, nor on threads.

#ifndef SCALPEL_SERVER_SPEC_HOST_STATS_H_
#define SCALPEL_SERVER_SPEC_HOST_STATS_H_

#include "proto/scalpel/v1/observation.pb.h"
#include "server/model/tensor.h"
#include "server/spec/samples.h"

namespace scalpel::spec {

// The probe's numbers, flat, double: [statistics, kept], [quantiles, kept], then of a histogram the
// counts [kept, bins], those below [kept] and those above [kept].
at::Tensor MeasureOnHost(const v1::Probe& probe, const Samples& samples);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_HOST_STATS_H_
