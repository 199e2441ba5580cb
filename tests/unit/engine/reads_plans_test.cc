// The engine decides nothing by a request: whatever it carries out stands in the plan.

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/scalpel/v1/intervention.pb.h"
#include "proto/scalpel/v1/observation.pb.h"
#include "proto/scalpel/v1/run.pb.h"
#include "proto/scalpel/v1/sweep.pb.h"

namespace scalpel::engine {
namespace {

using google::protobuf::Descriptor;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

// The names of a message and of all messages inside it, except for what is under `normalized`:
// there an answer repeats the request.
void AddMessages(const Descriptor* message, std::set<std::string>& names) {
  if (!names.insert(message->name()).second) return;
  for (int i = 0; i < message->field_count(); ++i) {
    const auto* field = message->field(i);
    if (field->message_type() != nullptr && field->name() != "normalized")
      AddMessages(field->message_type(), names);
  }
}

// Messages that a request may hold and that no event of an answer does.
std::set<std::string> OnlyInRequests() {
  std::set<std::string> asked, answered;
  for (const Descriptor* request : {v1::RunRequest::descriptor(), v1::SweepRequest::descriptor()})
    AddMessages(request, asked);
  for (const Descriptor* answer : {v1::RunResponse::descriptor(), v1::SweepResponse::descriptor()})
    AddMessages(answer, answered);
  for (const std::string& name : answered) asked.erase(name);
  return asked;
}

// What a source names of requests: their messages, and the ways to a request.
std::vector<std::string> NamesOfRequests(const std::string& source) {
  static const std::set<std::string> messages = OnlyInRequests();
  static const std::regex pattern(R"(\bv1::(\w+)|(?:\.|->)(request|normalized)\(\))");
  std::vector<std::string> found;
  for (std::sregex_iterator match(source.begin(), source.end(), pattern), end; match != end;
       ++match) {
    if (!(*match)[1].matched || messages.contains((*match)[1])) found.push_back(match->str());
  }
  return found;
}

TEST(Engine, MessagesOfRequestsAreKnownFromThoseOfAnswers) {
  const std::set<std::string> messages = OnlyInRequests();
  for (const std::string name : {"RunRequest", "Intervention", "Patch", "Probe", "Capture"})
    EXPECT_THAT(messages, Contains(name));
  for (const std::string name : {"TensorHeader", "ProbeResult", "InterventionReport", "Started"})
    EXPECT_THAT(messages, Not(Contains(name)));
  EXPECT_THAT(NamesOfRequests("const v1::Patch& p; v1::ProbeResult r; v1::Probe q; id.request_id();"
                              "sweep().request().seed(); plan.started.normalized()"),
              ElementsAre("v1::Patch", "v1::Probe", ".request()", ".normalized()"));
}

TEST(Engine, NamesNothingOfARequest) {
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator("server/engine")) {
    if (file.path().extension() != ".h" && file.path().extension() != ".cc") continue;
    ++files;
    std::stringstream source;
    source << std::ifstream(file.path()).rdbuf();
    EXPECT_THAT(NamesOfRequests(source.str()), IsEmpty())
        << file.path() << ": let the plan say it (server/spec/plan.h)";
  }
  EXPECT_GT(files, 20);
}

}  // namespace
}  // namespace scalpel::engine
