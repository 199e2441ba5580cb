// The weights' memory, in large pages.

#ifndef SCALPEL_SERVER_HUGE_PAGES_H_
#define SCALPEL_SERVER_HUGE_PAGES_H_

#include <cstdint>

namespace scalpel {

// Asks the kernel to back the anonymous memory that is mapped now, the weights above all, by pages
// of 2 MiB; gives the bytes for which it did. A pass over few tokens is bound by reading the
// weights, and the processor's prefetching ends at each page. Contents stay as they are; where the
// kernel cannot (before Linux 6.1, or too little free memory in one piece), nothing changes.
int64_t UseHugePages();

}  // namespace scalpel

#endif  // SCALPEL_SERVER_HUGE_PAGES_H_
