#include "server/insight/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace scalpel::insight {
namespace {

namespace fs = std::filesystem;

TEST(Process, DescribesThisProcess) {
  EXPECT_GT(ResidentBytes(), int64_t{1} << 20);
  EXPECT_GE(MemoryLimitBytes(), ResidentBytes());
  EXPECT_GE(DescriptorsMax(), OpenDescriptors());
  EXPECT_GE(CpuSeconds(), 0);
  const double now = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  EXPECT_LE(StartTimeSeconds(), now + 1);
  EXPECT_GT(StartTimeSeconds(), now - 7 * 24 * 3600.0);
}

TEST(Process, CountsDescriptors) {
  const int64_t before = OpenDescriptors();
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(OpenDescriptors(), before + 1);
  close(fd);
  EXPECT_EQ(OpenDescriptors(), before);
}

// A folder with `proc` and `sys` as a test wants them.
class MemoryLimit : public testing::Test {
 protected:
  MemoryLimit() {
    char name[] = "/tmp/scalpel-process-XXXXXX";
    root_ = mkdtemp(name);
    Write("proc/meminfo", "MemTotal:       2000 kB\nMemFree: 1 kB\n");
  }
  ~MemoryLimit() override { fs::remove_all(root_); }

  void Write(const fs::path& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  fs::path root_;
};

TEST_F(MemoryLimit, IsTheMachinesWithoutACgroup) {
  EXPECT_EQ(MemoryLimitBytes(root_), 2000 * 1024);
}

TEST_F(MemoryLimit, IsTheContainersWhereItsCgroupIsTheRoot) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/memory.max", "1000000\n");
  EXPECT_EQ(MemoryLimitBytes(root_), 1000000);
}

TEST_F(MemoryLimit, IsTheMinimumOfAllParentCgroups) {
  Write("proc/self/cgroup", "1:name=systemd:/x\n0::/a/b\n");
  Write("sys/fs/cgroup/a/b/memory.max", "max\n");
  Write("sys/fs/cgroup/a/memory.max", "500000\n");
  EXPECT_EQ(MemoryLimitBytes(root_), 500000);
  Write("sys/fs/cgroup/a/b/memory.max", "400000\n");
  EXPECT_EQ(MemoryLimitBytes(root_), 400000);
}

TEST_F(MemoryLimit, IsZeroIfUnknown) {
  fs::remove_all(root_ / "proc");
  EXPECT_EQ(MemoryLimitBytes(root_), 0);
}

}  // namespace
}  // namespace scalpel::insight
