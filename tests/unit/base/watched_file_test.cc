#include "server/base/watched_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <optional>
#include <string>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "tests/unit/model/temp_folder.h"

namespace scalpel {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr absl::Duration kInterval = absl::Milliseconds(2);

// Counts what a WatchedFile calls.
class WatchedFileTest : public model::TempFolderTest {
 protected:
  void SetUp() override {
    TempFolderTest::SetUp();
    path_ = root_ / "file";
  }
  void Watch() {
    watched_.emplace(
        path_,
        [this](bool) {
          ++reads_;
          return true;
        },
        kInterval);
    ASSERT_EQ(reads_, 1);  // from the constructor
  }
  // Waits for one more reading than before.
  ::testing::AssertionResult ReadAgain() {
    const absl::Time give_up = absl::Now() + kPatience;
    while (reads_ == seen_ && absl::Now() < give_up) absl::SleepFor(kInterval);
    if (reads_ == seen_) return ::testing::AssertionFailure() << "the change was not noticed";
    seen_ = reads_;
    return ::testing::AssertionSuccess();
  }
  // Not read again in many polls.
  bool IsQuiet() {
    absl::SleepFor(20 * kInterval);
    return reads_ == seen_;
  }
  void TearDown() override {
    watched_.reset();
    TempFolderTest::TearDown();
  }

  fs::path path_;
  std::atomic<int> reads_ = 0;
  int seen_ = 1;
  std::optional<WatchedFile> watched_;
};

TEST_F(WatchedFileTest, NoticesNewBytesAndNothingElse) {
  Write(path_, "one");
  Watch();
  EXPECT_TRUE(IsQuiet());
  Write(path_, "three");
  EXPECT_TRUE(ReadAgain());
}

TEST_F(WatchedFileTest, NoticesAReplacementOfTheSameSizeAndTime) {
  Write(path_, "one");
  Write(root_ / "other", "two");
  fs::last_write_time(root_ / "other", fs::last_write_time(path_));
  Watch();
  fs::rename(root_ / "other", path_);
  EXPECT_TRUE(ReadAgain());
}

TEST_F(WatchedFileTest, NoticesAChangedMode) {
  Write(path_, "one");
  ASSERT_EQ(chmod(path_.c_str(), 0600), 0);
  Watch();
  absl::SleepFor(absl::Milliseconds(20));  // file systems keep time in steps
  ASSERT_EQ(chmod(path_.c_str(), 0640), 0);
  EXPECT_TRUE(ReadAgain());
}

TEST_F(WatchedFileTest, NoticesThatTheFileVanishesAndReappears) {
  Write(path_, "one");
  Watch();
  fs::remove(path_);
  EXPECT_TRUE(ReadAgain());
  EXPECT_TRUE(IsQuiet());
  Write(path_, "one");
  EXPECT_TRUE(ReadAgain());
}

TEST_F(WatchedFileTest, WatchesAFileThatIsNotThereYet) {
  Watch();
  EXPECT_TRUE(IsQuiet());
  Write(path_, "one");
  EXPECT_TRUE(ReadAgain());
}

// A secret of Kubernetes: file -> ..data/file, ..data -> ..1, and a new version swaps ..data.
TEST_F(WatchedFileTest, FollowsSymbolicLinksThatAreSwapped) {
  Write(root_ / "..1" / "file", "one");
  Write(root_ / "..2" / "file", "two");
  fs::last_write_time(root_ / "..2" / "file", fs::last_write_time(root_ / "..1" / "file"));
  fs::create_symlink("..1", root_ / "..data");
  fs::create_symlink("..data/file", path_);
  Watch();
  fs::create_symlink("..2", root_ / "..data_tmp");
  fs::rename(root_ / "..data_tmp", root_ / "..data");
  EXPECT_TRUE(ReadAgain());
}

// The stamp is taken before the first reading, so what comes in between is read again.
TEST_F(WatchedFileTest, MissesNoChangeDuringTheFirstRead) {
  Write(path_, "one");
  std::atomic<int> reads = 0;
  absl::Notification again;
  WatchedFile watched(
      path_,
      [&](bool) {
        const int read = ++reads;
        if (read == 1) Write(path_, "longer than it was");
        if (read == 2) again.Notify();
        return true;
      },
      kInterval);
  EXPECT_TRUE(again.WaitForNotificationWithTimeout(kPatience));
}

TEST_F(WatchedFileTest, ReadsAgainUntilItSucceeds) {
  Write(path_, "one");
  absl::Notification third;
  const WatchedFile watched(
      path_,
      [&](bool retry) {
        EXPECT_EQ(retry, reads_ > 0);
        if (++reads_ == 3) third.Notify();
        return reads_ == 3;
      },
      kInterval);
  ASSERT_TRUE(third.WaitForNotificationWithTimeout(kPatience));
  absl::SleepFor(20 * kInterval);
  EXPECT_EQ(reads_, 3);
}

TEST_F(WatchedFileTest, StopsAtOnceDespiteALongInterval) {
  Write(path_, "one");
  const absl::Time began = absl::Now();
  {
    const WatchedFile watched(
        path_, [](bool) { return true; }, absl::Minutes(10));
  }
  EXPECT_LT(absl::Now() - began, kPatience);
}

TEST_F(WatchedFileTest, WaitsForAReadInProgress) {
  Write(path_, "one");
  absl::Notification entered;
  std::atomic<int> begun = 0, ended = 0;
  {
    const WatchedFile watched(
        path_,
        [&](bool) {
          if (++begun == 2) {
            entered.Notify();
            absl::SleepFor(absl::Milliseconds(50));
          }
          ++ended;
          return true;
        },
        kInterval);
    Write(path_, "three");
    ASSERT_TRUE(entered.WaitForNotificationWithTimeout(kPatience));
  }
  EXPECT_EQ(ended, begun);
}

}  // namespace
}  // namespace scalpel
