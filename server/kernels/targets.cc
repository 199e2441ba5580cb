#include "server/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/targets.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {
namespace {

int64_t Mask() { return HWY_TARGET; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace scalpel::kernels {
namespace {

HWY_EXPORT(Mask);

}  // namespace

const std::vector<std::string_view>& Targets() {
  // Computed before a target is forced: afterwards SupportedTargets() returns only that one.
  static const std::vector<std::string_view> targets = [] {
    std::vector<std::string_view> names;
    // Lower bits are better targets. SupportedTargets() may lack the fallback, which every CPU can
    // run.
    int64_t rest = HWY_TARGETS & (hwy::SupportedTargets() | HWY_SCALAR | HWY_EMU128);
    for (; rest != 0; rest &= rest - 1) names.push_back(hwy::TargetName(rest & -rest));
    return names;
  }();
  return targets;
}

std::string_view Target() { return hwy::TargetName(HWY_DYNAMIC_DISPATCH(Mask)()); }

void ForceTarget(std::string_view name) {
  Targets();  // before SupportedTargets() changes
  hwy::SetSupportedTargetsForTest(0);
  for (int64_t rest = HWY_TARGETS; rest != 0; rest &= rest - 1) {
    if (hwy::TargetName(rest & -rest) == name) hwy::SetSupportedTargetsForTest(rest & -rest);
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace scalpel::kernels

#endif  // HWY_ONCE
