// Statistics of samples on any device, by libtorch's operations in double precision. The last bits
// of a result depend on the device; host_stats.h is the implementation for CPUs, where they do not.

#ifndef SCALPEL_SERVER_SPEC_DEVICE_STATS_H_
#define SCALPEL_SERVER_SPEC_DEVICE_STATS_H_

#include "proto/scalpel/v1/observation.pb.h"
#include "server/model/tensor.h"
#include "server/spec/samples.h"

namespace scalpel::spec {

// As MeasureOnHost, for samples on any device. The result is on that device.
at::Tensor MeasureOnDevice(const v1::Probe& probe, const Samples& samples);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_DEVICE_STATS_H_
