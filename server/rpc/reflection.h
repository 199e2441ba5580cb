// Server reflection, grpc.reflection.v1 and v1alpha: describes the services and messages.
//
// gRPC's own plugin answers every caller; this one asks the gate first.

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

// Returns OK if a call may proceed, and may set the call's permit.
using Admit = std::function<absl::Status(grpc::CallbackServerContext*, Call*)>;

// Returns the full names of the two reflection services.
std::vector<std::string> ReflectionNames();

// Returns the two services, to be registered with a gRPC server that they must outlive. `services`:
// the full names that `list_services` answers. `admit` is called at the begin of each stream, and
// what it refers to must outlive the services.
std::vector<std::unique_ptr<grpc::Service>> MakeReflection(const std::vector<std::string>& services,
                                                           const Admit& admit);

// Answers one request from the descriptors that are linked into the program. A request that cannot
// be answered gets an `error_response`: NOT_FOUND or INVALID_ARGUMENT.
grpc::reflection::v1::ServerReflectionResponse AnswerReflection(
    const grpc::reflection::v1::ServerReflectionRequest& request,
    const std::vector<std::string>& services);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_REFLECTION_H_
