// What the system says of this process.

#ifndef SCALPEL_SERVER_INSIGHT_PROCESS_H_
#define SCALPEL_SERVER_INSIGHT_PROCESS_H_

#include <cstdint>
#include <filesystem>

#include "server/insight/sources.h"

namespace scalpel::insight {

// Each reads `/proc` and `/sys` anew; 0 where they do not say.

int64_t ResidentBytes();
// The most that this process may have: the least of its cgroups' limits (version 2) and the
// machine's memory. `root`: where `proc` and `sys` are.
int64_t MemoryLimitBytes(const std::filesystem::path& root = "/");
int64_t OpenDescriptors();
int64_t DescriptorsMax();
double CpuSeconds();
// Since 1970.
double StartTimeSeconds();

// All of them, under the names that Prometheus clients of every language use.
void AddProcess(Sources& sources);

}  // namespace scalpel::insight

#endif  // SCALPEL_SERVER_INSIGHT_PROCESS_H_
