// GetModel's answer, and its parts.

#ifndef SCALPEL_SERVER_RPC_DESCRIBE_H_
#define SCALPEL_SERVER_RPC_DESCRIBE_H_

#include "proto/scalpel/v1/model.pb.h"
#include "server/contract/limits.h"
#include "server/rpc/backend.h"

namespace scalpel::rpc {

v1::GetModelResponse DescribeModel(const Backend& backend, const Limits& limits);

// What the cache of clean runs holds.
v1::BaselineCache DescribeCache(const Backend& backend, const Limits& limits);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_DESCRIBE_H_
