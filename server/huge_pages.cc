#include "server/huge_pages.h"

#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1; glibc knows it from 2.37 on
#endif

namespace scalpel {
namespace {

constexpr uintptr_t kHugePage = 2 << 20;

}  // namespace

int64_t UseHugePages() {
  int64_t bytes = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    uint64_t inode = 0;
    char access[5] = "";
    int name = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s %*x %*s %" SCNu64 " %n", &begin,
                    &end, access, &inode, &name) < 4)
      continue;
    const std::string what = line.substr(name);
    if (std::string(access) != "rw-p" || inode != 0 || !(what.empty() || what == "[heap]"))
      continue;
    for (uintptr_t page = (begin + kHugePage - 1) / kHugePage * kHugePage; page + kHugePage <= end;
         page += kHugePage) {
      if (madvise(reinterpret_cast<void*>(page), kHugePage, MADV_COLLAPSE) == 0)
        bytes += static_cast<int64_t>(kHugePage);
    }
  }
  return bytes;
}

}  // namespace scalpel
