// How long a test waits for what is to happen.

#ifndef SCALPEL_TESTS_UNIT_RPC_PATIENCE_H_
#define SCALPEL_TESTS_UNIT_RPC_PATIENCE_H_

#include "absl/time/time.h"

namespace scalpel::rpc {

inline constexpr absl::Duration kPatience = absl::Seconds(20);

}  // namespace scalpel::rpc

#endif  // SCALPEL_TESTS_UNIT_RPC_PATIENCE_H_
