#include "server/model/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>

#include <algorithm>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "server/kernels/threads.h"

namespace scalpel::model {
namespace {

// Loads libtorch's CUDA library, which registers its operations itself. OK if a GPU can be used
// afterwards.
absl::Status LoadCuda() {
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("--device cuda: the GPU libraries are not installed (", dlerror(),
                     "); use `./scalpel serve --device cuda`, or --device cpu"));
  }
  if (!at::globalContext().hasCUDA()) {
    return absl::FailedPreconditionError(
        "--device cuda: no usable NVIDIA GPU or driver here; use --device cpu");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<at::Device> OpenDevice(std::string_view name) {
  if (name == "cpu") return at::Device(at::kCPU);
  const absl::Status cuda = LoadCuda();
  if (cuda.ok()) return at::Device(at::kCUDA, 0);
  if (name == "auto") return at::Device(at::kCPU);
  return cuda;
}

int SetThreads(int threads) {
  const int count = threads > 0 ? threads : std::max(1u, std::thread::hardware_concurrency());
  kernels::SetThreads(count);
  at::set_num_threads(1);
  return count;
}

}  // namespace scalpel::model
