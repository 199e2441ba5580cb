// Builds the response of GetStatus.

#ifndef SCALPEL_SERVER_RPC_STATUS_H_
#define SCALPEL_SERVER_RPC_STATUS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "proto/scalpel/v1/server_status.pb.h"
#include "server/contract/limits.h"
#include "server/rpc/backend.h"
#include "server/rpc/calls.h"

namespace scalpel::rpc {

// The state that GetStatus reports.
struct StatusFacts {
  absl::Duration uptime;
  Calls::Counts calls;
  std::map<std::string, int64_t> rejections;         // refused calls, by ReasonWord
  std::shared_ptr<const Backend> backend = nullptr;  // null while the model is being loaded
  bool draining = false;
};

// Returns the response of GetStatus. Thread-safe.
v1::GetStatusResponse DescribeStatus(const StatusFacts& facts, const Limits& limits);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_STATUS_H_
