// Chooses the Highway targets (instruction sets) that the kernels are compiled for. Must be
// included before any header of Highway.
//
// They are the targets with fused multiply-add, and a fallback that calls std::fma instead: slow,
// but with the same bits.

#ifndef SCALPEL_SERVER_KERNELS_TARGETS_H_
#define SCALPEL_SERVER_KERNELS_TARGETS_H_

// HWY_NEON_WITHOUT_AES is missing because it came after Highway 1.0.3: an arm64 CPU without AES
// uses the fallback.
#define HWY_DISABLED_TARGETS (~(HWY_AVX3 | HWY_AVX2 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
// By default Highway omits targets below the compiler's baseline. On arm64 NEON is the baseline, so
// that there would be no fallback.
#define HWY_COMPILE_ALL_ATTAINABLE

#include <cstdint>
#include <string_view>
#include <vector>

namespace scalpel::kernels {

// The names of the targets that this CPU can run, best first: `AVX3` (AVX-512), `AVX2` or `NEON`,
// and last the fallback, `SCALAR` or `EMU128`. Thread-safe.
const std::vector<std::string_view>& Targets();
// The name of the target in use: the first of Targets() unless another was forced.
std::string_view Target();
// Makes all kernels use the target `name`, one of Targets(), or the best one if `name` is empty.
// Matrices that were packed before keep their target. Must not be called while a kernel runs.
void ForceTarget(std::string_view name);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_TARGETS_H_
