#include "server/rpc/entries.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include <string>

#include "proto/google/rpc/error_details.pb.h"
#include "proto/scalpel/v1/run.pb.h"
#include "proto/scalpel/v1/sweep.pb.h"
#include "tests/unit/support/limits.h"

namespace scalpel::rpc {
namespace {

absl::Status Check(const std::string& bytes, const Limits& limits = {}) {
  google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()), 7);
  return CheckEntries(&stream, *v1::RunRequest::descriptor(), limits);
}

std::string Repeated(const std::string& entry, int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes += entry;
  return bytes;
}

TEST(CheckEntries, CountsWhatASweepHas) {
  const Limits limits = test::LimitsOf("max_prompts: 3 max_metrics: 3 max_probes: 3");
  const auto check = [&](const std::string& bytes) {
    google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
    return CheckEntries(&stream, *v1::SweepRequest::descriptor(), limits);
  };
  for (const char* tag : {"\x12", "\x1a", "\x32", "\x3a"}) {  // prompts, sources, metrics, probes
    const std::string entry = std::string(tag) + std::string(1, '\0');
    EXPECT_TRUE(check(Repeated(entry, 3)).ok());
    EXPECT_TRUE(absl::IsInvalidArgument(check(Repeated(entry, 4))));
  }
}

// A request with `pairs` knockout pairs of two fields each: 3 * pairs + 2 fields.
std::string Knockout(int pairs) {
  v1::RunRequest request;
  auto* knockout = request.add_interventions()->mutable_knockout();
  for (int i = 0; i < pairs; ++i) {
    auto* pair = knockout->add_pairs();
    pair->set_query(9);
    pair->set_key(8);
  }
  return request.SerializeAsString();
}

TEST(CheckEntries, CountsPromptsInterventionsProbesAndCaptures) {
  const Limits limits =
      test::LimitsOf("max_prompts: 3 max_interventions: 3 max_probes: 3 max_captures: 3");
  for (const char* tag : {"\x12", "\x1a", "\x22", "\x2a"}) {  // fields 2 to 5
    const std::string entry = std::string(tag) + std::string(1, '\0');
    EXPECT_TRUE(Check(Repeated(entry, 3), limits).ok());
    EXPECT_TRUE(absl::IsInvalidArgument(Check(Repeated(entry, 4), limits)));
  }
  EXPECT_EQ(Check(Repeated(std::string("\x2a\x00", 2), 4), limits).message(),
            "captures: has 4 entries, at most 3 are allowed; split the request");
}

TEST(CheckEntries, CountsFieldsOfNestedMessages) {
  Limits limits;
  limits->set_max_request_fields(302);
  EXPECT_TRUE(Check(Knockout(100), limits).ok());
  EXPECT_EQ(Check(Knockout(101), limits).message(),
            "RunRequest: has 305 fields in all, at most 302 are allowed; split the request");
}

TEST(CheckEntries, CountsUnknownFieldsAndGroups) {
  Limits limits;
  limits->set_max_request_fields(100);
  for (const std::string& entry : {std::string("\xfa\x01\x00", 3), std::string("\xf8\x01\x07", 3),
                                   std::string("\xfb\x01\xfc\x01", 4)}) {  // field 31
    EXPECT_TRUE(Check(Repeated(entry, 50), limits).ok());
    EXPECT_FALSE(Check(Repeated(entry, 101), limits).ok());
  }
}

// What cannot be read inside a block must not hide what follows it.
TEST(CheckEntries, ContinuesAfterAnUnreadableBlock) {
  Limits limits;
  limits->set_max_captures(3);
  const std::string broken("\x1a\x02\xff\xff", 4);
  EXPECT_FALSE(Check(broken + Repeated(std::string("\x2a\x00", 2), 4), limits).ok());
}

TEST(CheckEntries, LargePackedListsAreOneField) {
  v1::RunRequest request;
  auto* ids = request.add_prompts()->mutable_token_ids();
  for (int i = 0; i < 2'000'000; ++i) ids->add_ids(i);
  EXPECT_TRUE(Check(request.SerializeAsString()).ok());
}

// Number 20 of an intervention was an operation that no server has, and 2 of its mean a list of
// prompts: who sends one would get the answer to another question.
TEST(CheckEntries, RefusesReservedNumbersAndIgnoresOtherUnknownOnes) {
  const auto status_of = [](const std::string& intervention) {
    return Check(std::string("\x1a") + static_cast<char>(intervention.size()) + intervention);
  };
  EXPECT_EQ(status_of(std::string("\xa2\x01\x00", 3)).message(),
            "interventions: has field 20 of scalpel.v1.Intervention, which is reserved and does "
            "nothing; leave it out");
  EXPECT_EQ(status_of(std::string("\x82\x01\x02\x12\x00", 5)).message(),
            "interventions: has field 2 of scalpel.v1.Mean, which is reserved and does nothing; "
            "leave it out");
  EXPECT_TRUE(absl::IsInvalidArgument(status_of(std::string("\xa2\x01\x00", 3))));
  EXPECT_TRUE(status_of(std::string("\xba\x01\x00", 3)).ok());  // 23
  EXPECT_TRUE(Check(std::string("\xa2\x01\x00", 3)).ok());      // 20 of RunRequest
}

TEST(CheckEntries, UnreadableMessagesAreLeftToTheParser) {
  EXPECT_TRUE(Check("\xff\xff\xff").ok());
  EXPECT_TRUE(Check("\x12\x7f").ok());
  EXPECT_TRUE(Check("").ok());
}

}  // namespace
}  // namespace scalpel::rpc
