#include "server/rpc/trace_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

namespace scalpel::rpc {
namespace {

using testing::MatchesRegex;

constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kSpan[] = "00f067aa0ba902b7";

TEST(TraceContext, ContinuesTheCallersTrace) {
  const TraceContext context = Continue("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  EXPECT_EQ(context.trace_id, kTrace);
  EXPECT_EQ(context.parent_span_id, kSpan);
  EXPECT_THAT(context.span_id, MatchesRegex("[0-9a-f]{16}"));
  EXPECT_NE(context.span_id, kSpan);
}

TEST(TraceContext, BeginsATraceWithoutAHeader) {
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i) {
    const TraceContext context = Continue(std::nullopt);
    EXPECT_THAT(context.trace_id, MatchesRegex("[0-9a-f]{32}"));
    EXPECT_THAT(context.span_id, MatchesRegex("[0-9a-f]{16}"));
    EXPECT_EQ(context.parent_span_id, "");
    ids.insert(context.trace_id);
    ids.insert(context.span_id);
  }
  EXPECT_EQ(ids.size(), 200u);
}

TEST(TraceContext, LaterVersionsAreReadAsVersion00) {
  for (const char* header : {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09",
                             "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the",
                             "fe-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-"}) {
    const auto parent = ParseTraceParent(header);
    ASSERT_TRUE(parent) << header;
    EXPECT_EQ(parent->trace_id, kTrace);
    EXPECT_EQ(parent->span_id, kSpan);
  }
}

class Malformed : public testing::TestWithParam<const char*> {};

TEST_P(Malformed, IsIgnored) {
  EXPECT_FALSE(ParseTraceParent(GetParam()));
  const TraceContext context = Continue(GetParam());
  EXPECT_NE(context.trace_id, kTrace);
  EXPECT_EQ(context.parent_span_id, "");
}

INSTANTIATE_TEST_SUITE_P(
    TraceContext, Malformed,
    testing::Values(
        "", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",      // version 00 ends here
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",      //
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",  // no dash
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",       // no version
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",       // upper case
        "0G-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bx-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",  // zeros are no id
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01"));

}  // namespace
}  // namespace scalpel::rpc
