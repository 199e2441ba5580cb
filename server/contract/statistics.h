// What each statistic of proto/scalpel/v1/statistic.proto needs.

#ifndef SCALPEL_SERVER_CONTRACT_STATISTICS_H_
#define SCALPEL_SERVER_CONTRACT_STATISTICS_H_

#include <google/protobuf/descriptor.h>

#include <vector>

#include "absl/status/statusor.h"
#include "proto/scalpel/v1/options.pb.h"
#include "proto/scalpel/v1/statistic.pb.h"

namespace scalpel::contract {

// Empty for a number that is no statistic.
const v1::StatisticFacts& FactsOf(v1::Statistic statistic);

// By number, those of an enum such as v1::Statistic; that of 0 is empty. INTERNAL names a value
// without facts, or a number that is left out.
absl::StatusOr<std::vector<v1::StatisticFacts>> ReadStatistics(
    const google::protobuf::EnumDescriptor& statistics);

}  // namespace scalpel::contract

#endif  // SCALPEL_SERVER_CONTRACT_STATISTICS_H_
