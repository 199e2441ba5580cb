#include "server/engine/event_stream.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace scalpel::engine {
namespace {

Event Numbered(int number) {
  Event event;
  event.message.mutable_intervention_report()->set_index(number);
  return event;
}

int NumberOf(const Event& event) { return event.message.intervention_report().index(); }

TEST(EventStream, KeepsOrderAndEndsAfterTheLastEvent) {
  EventStream stream;
  EXPECT_FALSE(stream.Pop());
  stream.Push(Numbered(1));
  stream.Push(Numbered(2));
  stream.Close(absl::OkStatus());
  EXPECT_FALSE(stream.End());
  EXPECT_EQ(NumberOf(*stream.Pop()), 1);
  EXPECT_FALSE(stream.End());
  EXPECT_EQ(NumberOf(*stream.Pop()), 2);
  EXPECT_FALSE(stream.Pop());
  ASSERT_TRUE(stream.End());
  EXPECT_TRUE(stream.End()->ok());
}

TEST(EventStream, TheFirstCloseWinsAndNothingFollowsIt) {
  EventStream stream;
  stream.Close(absl::UnavailableError("first"));
  stream.Close(absl::OkStatus());
  stream.Push(Numbered(1));
  EXPECT_FALSE(stream.Pop());
  EXPECT_EQ(stream.End()->message(), "first");
}

TEST(EventStream, CancelDropsUnreadAndLaterEvents) {
  EventStream stream;
  const auto tensor = std::make_shared<int>(7);
  Event event;
  event.tensor = TensorEvent{.header = {}, .bytes = "", .owner = tensor};
  stream.Push(std::move(event));
  event = {};
  EXPECT_EQ(tensor.use_count(), 2);
  EXPECT_FALSE(stream.cancelled());
  stream.Cancel();
  EXPECT_TRUE(stream.cancelled());
  EXPECT_EQ(tensor.use_count(), 1);
  stream.Push(Numbered(1));
  EXPECT_FALSE(stream.Pop());
  EXPECT_FALSE(stream.End());
  stream.Close(absl::CancelledError(""));
  EXPECT_TRUE(absl::IsCancelled(*stream.End()));
}

// An answer that says OK is whole, even if the server stops before it is read.
TEST(EventStream, AbortDropsWhatIsUnreadUnlessTheCallHasEnded) {
  EventStream open, ended;
  int calls = 0;
  open.SetReady([&] { ++calls; });
  for (EventStream* stream : {&open, &ended}) stream->Push(Numbered(1));
  ended.Close(absl::OkStatus());
  for (EventStream* stream : {&open, &ended}) stream->Abort(absl::UnavailableError(""));
  EXPECT_EQ(calls, 3);
  EXPECT_TRUE(open.cancelled());
  EXPECT_FALSE(open.Pop());
  EXPECT_TRUE(absl::IsUnavailable(*open.End()));
  EXPECT_TRUE(ended.Pop());
  EXPECT_TRUE(ended.End()->ok());
}

TEST(EventStream, ReadyIsCalledAtOnceAndAfterEachPushAndClose) {
  EventStream stream;
  stream.Push(Numbered(1));
  int calls = 0;
  // It may use the stream: no lock is held.
  stream.SetReady([&] {
    ++calls;
    stream.Pop();
    stream.End();
  });
  EXPECT_EQ(calls, 1);
  stream.Push(Numbered(2));
  EXPECT_EQ(calls, 2);
  stream.Close(absl::OkStatus());
  EXPECT_EQ(calls, 3);
  stream.Close(absl::OkStatus());
  EXPECT_EQ(calls, 3);
}

TEST(EventStream, HoldsItsReservationUntilItIsDestroyed) {
  const auto reservation = std::make_shared<int>(1);
  {
    EventStream stream;
    stream.Hold(reservation);
    stream.Cancel();
    EXPECT_EQ(reservation.use_count(), 2);
  }
  EXPECT_EQ(reservation.use_count(), 1);
}

TEST(EventStream, LosesNothingBetweenTwoThreads) {
  constexpr int kEvents = 20'000;
  EventStream stream;
  std::thread producer([&] {
    for (int i = 0; i < kEvents; ++i) stream.Push(Numbered(i));
    stream.Close(absl::OkStatus());
  });
  std::atomic<int> notes = 0;
  stream.SetReady([&] { ++notes; });
  int expected = 0;
  while (!stream.End()) {
    if (const auto event = stream.Pop()) {
      ASSERT_EQ(NumberOf(*event), expected++);
    }
  }
  producer.join();
  EXPECT_EQ(expected, kEvents);
  EXPECT_GE(notes, 1);
}

}  // namespace
}  // namespace scalpel::engine
