// Whether the declaration says all that the server goes by.

#ifndef SCALPEL_SERVER_CONTRACT_CHECK_H_
#define SCALPEL_SERVER_CONTRACT_CHECK_H_

#include "absl/status/status.h"

namespace scalpel::contract {

// INTERNAL names the first method, limit or statistic whose facts are missing or wrong. Nothing
// else of this room may be asked then.
absl::Status Check();

}  // namespace scalpel::contract

#endif  // SCALPEL_SERVER_CONTRACT_CHECK_H_
