#include "tests/unit/support/random_spec.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <set>

#include "proto/scalpel/v1/statistic.pb.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::test {
namespace {

// What must hold for every request is tested with these.
TEST(RandomRequest, MeetsEveryOperationAndStatistic) {
  std::mt19937_64 random(1);
  std::set<int> operations, statistics;
  for (int i = 0; i < 300; ++i) {
    const v1::RunRequest request = RandomRequest(random, TinyConfig());
    for (const v1::Intervention& intervention : request.interventions())
      operations.insert(intervention.operation_case());
    for (const v1::Probe& probe : request.probes())
      statistics.insert(probe.statistics().begin(), probe.statistics().end());
  }
  const auto* oneof = v1::Intervention::descriptor()->FindOneofByName("operation");
  for (int i = 0; i < oneof->field_count(); ++i)
    EXPECT_TRUE(operations.contains(oneof->field(i)->number())) << oneof->field(i)->name();
  for (int number = 1; number <= v1::Statistic_MAX; ++number)
    EXPECT_TRUE(statistics.contains(number)) << v1::Statistic_Name(v1::Statistic(number));
}

}  // namespace
}  // namespace scalpel::test
