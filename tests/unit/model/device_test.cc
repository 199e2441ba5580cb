#include "server/model/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "server/kernels/threads.h"

namespace scalpel::model {
namespace {

using ::testing::HasSubstr;

TEST(OpenDevice, AlwaysOpensTheCpu) {
  const auto device = OpenDevice("cpu");
  ASSERT_TRUE(device.ok());
  EXPECT_TRUE(device->is_cpu());
}

// Holds with and without a GPU.
TEST(OpenDevice, OpensCudaOrSaysWhyNotAndAutoFallsBack) {
  const auto cuda = OpenDevice("cuda"), automatic = OpenDevice("auto");
  ASSERT_TRUE(automatic.ok());
  EXPECT_EQ(automatic->is_cuda(), cuda.ok());
  if (cuda.ok()) {
    EXPECT_EQ(*cuda, at::Device(at::kCUDA, 0));
  } else {
    EXPECT_EQ(cuda.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(cuda.status().message()), HasSubstr("--device cpu"));
  }
}

TEST(SetThreads, ReturnsWhatItSetsAndZeroMeansAllHardwareThreads) {
  const int before = kernels::Threads();
  EXPECT_EQ(SetThreads(3), 3);
  EXPECT_EQ(kernels::Threads(), 3);
  EXPECT_EQ(SetThreads(0), static_cast<int>(std::thread::hardware_concurrency()));
  EXPECT_EQ(kernels::Threads(), static_cast<int>(std::thread::hardware_concurrency()));
  SetThreads(before);
}

}  // namespace
}  // namespace scalpel::model
