#include "server/rpc/entrance.h"

#include <gtest/gtest.h>

namespace scalpel::rpc {
namespace {

TEST(Entrance, HostsAreWithoutSchemeAndPort) {
  EXPECT_EQ(HostOf("ipv4:192.0.2.7:50123"), "192.0.2.7");
  EXPECT_EQ(HostOf("ipv6:[2001:db8::1]:50123"), "[2001:db8::1]");
  EXPECT_EQ(HostOf("ipv6:%5B::1%5D:50123"), "%5B::1%5D");
}

}  // namespace
}  // namespace scalpel::rpc
