// The statistics of samples on any device, by ATen's operations in double precision. The last bits
// depend on the device; see host_stats.h for the CPU.

#ifndef SCALPEL_SERVER_SPEC_DEVICE_STATS_H_
#define SCALPEL_SERVER_SPEC_DEVICE_STATS_H_

#include "proto/scalpel/v1/observation.pb.h"
#include "server/model/tensor.h"
#include "server/spec/samples.h"

namespace scalpel::spec {

// As MeasureOnHost; the result is on the samples' device.
at::Tensor MeasureOnDevice(const v1::Probe& probe, const Samples& samples);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_DEVICE_STATS_H_
