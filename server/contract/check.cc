#include "server/contract/check.h"

#include "server/contract/limits.h"
#include "server/contract/methods.h"
#include "server/contract/statistics.h"

namespace scalpel::contract {

absl::Status Check() {
  absl::Status status = ReadMethods(ServiceDeclared()).status();
  status.Update(ReadLimitFields(*v1::Limits::descriptor()).status());
  status.Update(ReadStatistics(*v1::Statistic_descriptor()).status());
  return status;
}

}  // namespace scalpel::contract
