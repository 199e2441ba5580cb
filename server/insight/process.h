// Facts about this process, as reported by the system.

#ifndef SCALPEL_SERVER_INSIGHT_PROCESS_H_
#define SCALPEL_SERVER_INSIGHT_PROCESS_H_

#include <cstdint>
#include <filesystem>

#include "server/insight/sources.h"

namespace scalpel::insight {

// Each function asks the system anew, and returns 0 if the value is not available. All of them are
// thread-safe.

int64_t ResidentBytes();
// Returns the memory that this process may use: the minimum of its cgroups' limits (version 2) and
// the machine's memory. `root`: the folder with `proc` and `sys`, for tests.
int64_t MemoryLimitBytes(const std::filesystem::path& root = "/");
int64_t OpenDescriptors();
int64_t DescriptorsMax();
// Returns the CPU time of all threads, in user and kernel mode.
double CpuSeconds();
// Returns when the process started, in seconds since the Unix epoch.
double StartTimeSeconds();

// Adds all of them, under the names that Prometheus' client libraries use.
void AddProcess(Sources& sources);

}  // namespace scalpel::insight

#endif  // SCALPEL_SERVER_INSIGHT_PROCESS_H_
