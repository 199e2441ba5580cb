// Graceful shutdown.

#ifndef SCALPEL_SERVER_PROGRAM_DRAIN_H_
#define SCALPEL_SERVER_PROGRAM_DRAIN_H_

#include "server/config/config.h"
#include "server/engine/scheduler.h"
#include "server/rpc/listener.h"
#include "server/rpc/service.h"

namespace scalpel {

// Shuts the server down in an order that loses no call, and returns when everything is closed:
// 1. The health service says NOT_SERVING, so that load balancers stop sending calls. Calls are
// still
//    served for --lame-duck-seconds, unless `device_failed`, when none would succeed.
// 2. New connections and calls are refused, and calls in progress may finish for --drain-seconds.
// 3. The remaining calls are cancelled.
void Drain(const Config& config, bool device_failed, rpc::Listener& listener, rpc::Service& service,
           engine::Scheduler& scheduler);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_DRAIN_H_
