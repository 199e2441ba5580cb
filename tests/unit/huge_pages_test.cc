#include "server/huge_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

namespace scalpel {
namespace {

TEST(HugePages, KeepWhatIsInThem) {
  std::vector<uint32_t> numbers(std::size_t{4} << 20);  // 16 MiB
  std::iota(numbers.begin(), numbers.end(), 0U);
  const int64_t bytes = UseHugePages();
  EXPECT_EQ(bytes % (2 << 20), 0);  // 0 on a kernel that cannot
  for (size_t i = 0; i < numbers.size(); ++i) ASSERT_EQ(numbers[i], i);
}

}  // namespace
}  // namespace scalpel
