// Builds the response of GetModel.

#ifndef SCALPEL_SERVER_RPC_DESCRIBE_H_
#define SCALPEL_SERVER_RPC_DESCRIBE_H_

#include "proto/scalpel/v1/model.pb.h"
#include "server/contract/limits.h"
#include "server/rpc/backend.h"

namespace scalpel::rpc {

// Returns the response of GetModel. Thread-safe.
v1::GetModelResponse DescribeModel(const Backend& backend, const Limits& limits);

// Returns the size and the counts of the cache of clean runs, over all callers. Thread-safe.
v1::BaselineCache DescribeCache(const Backend& backend, const Limits& limits);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_DESCRIBE_H_
