// The device that the model runs on, and the number of threads on a CPU.

#ifndef SCALPEL_SERVER_MODEL_DEVICE_H_
#define SCALPEL_SERVER_MODEL_DEVICE_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "server/model/tensor.h"

namespace scalpel::model {

// Returns the device that `name` means: `cpu`, `cuda` (the first GPU) or `auto` (the first GPU if
// there is a usable one, else the CPU). Any name but `cpu` loads libtorch's CUDA library.
// FAILED_PRECONDITION if `cuda` is not usable; the message says what is missing. Call it once,
// before any tensor is made.
absl::StatusOr<at::Device> OpenDevice(std::string_view name);

// Sets how many threads compute on a CPU, and returns the number; 0 means one for each hardware
// thread. They are those of server/kernels; libtorch's operations use only the calling thread. Must
// not be called while kernels run.
int SetThreads(int threads);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_DEVICE_H_
