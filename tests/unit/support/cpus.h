// Runs a test as on different CPUs: with each instruction set and several numbers of threads.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_CPUS_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_CPUS_H_

#include <gtest/gtest.h>

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "server/kernels/targets.h"
#include "server/kernels/threads.h"

namespace scalpel::test {

// Calls `body` for each target of the kernels that this CPU supports, with 1, 2 and 3 threads.
inline void OnEveryCpu(absl::FunctionRef<void()> body) {
  const int threads_before = kernels::Threads();
  for (const std::string_view target : kernels::Targets()) {
    for (const int threads : {1, 2, 3}) {
      const ::testing::ScopedTrace trace(
          __FILE__, __LINE__, absl::StrCat(std::string(target), " with ", threads, " threads"));
      kernels::ForceTarget(target);
      kernels::SetThreads(threads);
      body();
    }
  }
  kernels::ForceTarget("");
  kernels::SetThreads(threads_before);
}

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_CPUS_H_
