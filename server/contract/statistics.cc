#include "server/contract/statistics.h"

#include "absl/strings/str_cat.h"

namespace scalpel::contract {

absl::StatusOr<std::vector<v1::StatisticFacts>> ReadStatistics(
    const google::protobuf::EnumDescriptor& statistics) {
  std::vector<v1::StatisticFacts> facts(statistics.value_count());
  for (int number = 1; number < statistics.value_count(); ++number) {
    const auto* value = statistics.FindValueByNumber(number);
    if (value == nullptr)
      return absl::InternalError(absl::StrCat(statistics.full_name(), " has no value ", number));
    facts[number] = value->options().GetExtension(v1::statistic);
    if (facts[number].input() == v1::STATISTIC_INPUT_UNSPECIFIED) {
      return absl::InternalError(
          absl::StrCat(value->full_name(),
                       " does not say what it is computed of; give it the option "
                       "(scalpel.v1.statistic) with an input"));
    }
  }
  return facts;
}

const v1::StatisticFacts& FactsOf(v1::Statistic statistic) {
  static const auto* facts =
      new std::vector<v1::StatisticFacts>(ReadStatistics(*v1::Statistic_descriptor()).value());
  return (*facts)[v1::Statistic_IsValid(statistic) ? statistic : v1::STATISTIC_UNSPECIFIED];
}

}  // namespace scalpel::contract
