// Where the model runs.

#ifndef SCALPEL_SERVER_MODEL_DEVICE_H_
#define SCALPEL_SERVER_MODEL_DEVICE_H_

#include <ATen/ATen.h>

#include <string_view>

#include "absl/status/statusor.h"

namespace scalpel::model {

// `name`: cpu, cuda (the first GPU), or auto (a GPU if there is one, else the CPU). The GPU half of
// libtorch is loaded only when it is asked for. Errors: FAILED_PRECONDITION (cuda asked for but not
// usable here; says what is missing). Call once, before any tensor is made.
absl::StatusOr<at::Device> OpenDevice(std::string_view name);

// Sets how many threads compute on the CPU; 0: one for each hardware thread. Returns the number
// set. They are the kernels' own; libtorch's operations run on the caller's thread alone.
int SetThreads(int threads);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_DEVICE_H_
