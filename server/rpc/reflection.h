// Server reflection, grpc.reflection.v1 and v1alpha: tells what the services and messages look
// like.
//
// gRPC's own plugin for it answers anybody; this one asks first.

#ifndef SCALPEL_SERVER_RPC_REFLECTION_H_
#define SCALPEL_SERVER_RPC_REFLECTION_H_

#include <grpcpp/impl/service_type.h>
#include <grpcpp/server_context.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/grpc/reflection/v1/reflection.pb.h"
#include "server/rpc/call.h"

namespace scalpel::rpc {

// Whether a call may go on. May give it the caller's permit.
using Admit = std::function<absl::Status(grpc::CallbackServerContext*, Call*)>;

// Full names of the two services themselves.
std::vector<std::string> ReflectionNames();

// Both services, to be registered, each with the same answers. `services` are the full names that
// `list_services` gives. What they refer to lives as long as they do.
std::vector<std::unique_ptr<grpc::Service>> MakeReflection(const std::vector<std::string>& services,
                                                           const Admit& admit);

// The answer to one question, from what is known of the messages that are linked in.
grpc::reflection::v1::ServerReflectionResponse AnswerReflection(
    const grpc::reflection::v1::ServerReflectionRequest& request,
    const std::vector<std::string>& services);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_REFLECTION_H_
