#include "client/cpp/affinity.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

namespace scalpel::client {
namespace {

std::string AffinityOf(std::initializer_list<const char*> texts) {
  google::protobuf::RepeatedPtrField<v1::Prompt> prompts;
  for (const char* text : texts) prompts.Add()->set_text(text);
  return Affinity(prompts);
}

TEST(Affinity, DependsOnlyOnTheFirstPrompt) {
  EXPECT_EQ(AffinityOf({"When Mary", "a"}), AffinityOf({"When Mary", "b"}));
  EXPECT_NE(AffinityOf({"When Mary"}), AffinityOf({"When John"}));
}

// tests/python/test_connection.py has the same value: both clients are led to one server.
TEST(Affinity, EqualsThePythonClients) {
  EXPECT_EQ(AffinityOf({"When Mary and John"}), "796b503b5abe338e");
}

TEST(Affinity, IsEmptyWithoutPrompts) { EXPECT_EQ(AffinityOf({}), ""); }

}  // namespace
}  // namespace scalpel::client
