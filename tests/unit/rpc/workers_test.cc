#include "server/rpc/workers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace scalpel::rpc {
namespace {

using testing::ElementsAre;

constexpr absl::Duration kPatience = absl::Seconds(20);

TEST(Workers, ServePeersInTurnAndEachInItsOrder) {
  absl::Notification busy, released, done;
  std::vector<std::string> order;  // of one thread
  Workers workers(1);
  workers.Post("first", [&] {
    busy.Notify();
    released.WaitForNotification();
  });
  ASSERT_TRUE(busy.WaitForNotificationWithTimeout(kPatience));
  for (const std::string piece : {"a1", "a2", "a3", "b1", "c1", "b2"})
    workers.Post(piece.substr(0, 1), [&order, piece] { order.push_back(piece); });
  workers.Post("d", [] {});
  workers.Post("a", [&done] { done.Notify(); });
  released.Notify();
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(kPatience));
  EXPECT_THAT(order, ElementsAre("a1", "b1", "c1", "a2", "b2", "a3"));
}

TEST(Workers, WorkSideBySide) {
  absl::Notification met[2];
  Workers workers(2);
  for (const int i : {0, 1}) {
    workers.Post("peer", [&met, i] {
      met[i].Notify();
      met[1 - i].WaitForNotification();  // for ever, if they came one after the other
    });
  }
  for (absl::Notification& one : met) ASSERT_TRUE(one.WaitForNotificationWithTimeout(kPatience));
}

TEST(Workers, DropWhatHasNotBegun) {
  absl::Notification busy, released;
  bool ran = false;
  {
    Workers workers(1);
    workers.Post("peer", [&] {
      busy.Notify();
      released.WaitForNotificationWithTimeout(absl::Milliseconds(50));
    });
    ASSERT_TRUE(busy.WaitForNotificationWithTimeout(kPatience));
    workers.Post("peer", [&ran] { ran = true; });
  }
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace scalpel::rpc
