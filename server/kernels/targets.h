// Which of Highway's targets the kernels are compiled for; comes before any of its headers.
//
// Those with fused multiply-add, and one that emulates it by std::fma: slow, with the same bits.

#ifndef SCALPEL_SERVER_KERNELS_TARGETS_H_
#define SCALPEL_SERVER_KERNELS_TARGETS_H_

// Not HWY_NEON_WITHOUT_AES, which came after Highway 1.0.3: on arm64, a CPU without AES takes the
// fallback.
#define HWY_DISABLED_TARGETS (~(HWY_AVX3 | HWY_AVX2 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
// Highway leaves out what is worse than the compiler's own baseline, and NEON is arm64's: without
// this there would be no fallback.
#define HWY_COMPILE_ALL_ATTAINABLE

#include <cstdint>
#include <string_view>
#include <vector>

namespace scalpel::kernels {

// What this CPU has, best first: `AVX3` (AVX-512), `AVX2`, `NEON`; at the end `SCALAR` or `EMU128`,
// the fallback.
const std::vector<std::string_view>& Targets();
// The one in use; the first of Targets() unless another was forced.
std::string_view Target();
// All kernels by this one of Targets() from now on; empty: by the best again. Matrices packed
// before keep the one that they were packed for. Not while a kernel runs.
void ForceTarget(std::string_view name);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_TARGETS_H_
