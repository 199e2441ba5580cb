#include "server/net/departures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/time.h"

namespace scalpel::net {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const absl::Time kNow = absl::UnixEpoch();
const absl::Time kLater = kNow + absl::Seconds(1);

TEST(Departures, RefusedPeersAreDueOnceTheRefusalHasArrived) {
  Departures departures;
  departures.TurnAway("a", kNow);
  departures.TurnAway("b", kLater);
  EXPECT_THAT(departures.Due(kNow), IsEmpty());
  EXPECT_THAT(departures.Due(kLater), ElementsAre("a"));
  EXPECT_THAT(departures.Due(kLater), IsEmpty());
  departures.TurnAway("b", kLater + absl::Seconds(1));
  EXPECT_THAT(departures.Due(kLater + absl::Seconds(1)), IsEmpty());
  EXPECT_THAT(departures.Due(kLater + absl::Seconds(2)), ElementsAre("b"));
}

TEST(Departures, PeersWithCallsInProgressAreNotDue) {
  Departures departures;
  departures.CallBegins("a");
  departures.CallBegins("a");
  departures.CallBegins("b");
  departures.TurnAway("a", kNow);
  departures.CallEnds("a");
  EXPECT_THAT(departures.Due(kLater), IsEmpty());
  departures.CallEnds("a");
  EXPECT_THAT(departures.Due(kLater), ElementsAre("a"));
  departures.CallEnds("b");
  EXPECT_THAT(departures.Due(kLater), IsEmpty());
}

}  // namespace
}  // namespace scalpel::net
