// A client of grpc.health.v1.Health/Check.

#ifndef SCALPEL_CLIENT_CPP_HEALTH_H_
#define SCALPEL_CLIENT_CPP_HEALTH_H_

#include <memory>
#include <string>

#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"

namespace scalpel::client {

// HealthCheckResponse.ServingStatus.
enum class Health { kUnknown = 0, kServing = 1, kNotServing = 2, kServiceUnknown = 3 };

// Asks for the health of `service`, or of the server as a whole if it is empty, and stores it in
// `health`. Returns the status of the call.
grpc::Status CheckHealth(const std::shared_ptr<grpc::Channel>& channel,
                         grpc::ClientContext* context, const std::string& service, Health* health);

// Returns the name of a state, such as `SERVING`.
std::string HealthName(Health health);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_HEALTH_H_
