// How the server leaves.

#ifndef SCALPEL_SERVER_PROGRAM_DRAIN_H_
#define SCALPEL_SERVER_PROGRAM_DRAIN_H_

#include "server/config/config.h"
#include "server/engine/scheduler.h"
#include "server/rpc/listener.h"
#include "server/rpc/service.h"

namespace scalpel {

// Leaves in an order that clients can follow: health says NOT_SERVING, so that balancers send no
// more; calls are served on for the lame duck's time, unless `device_failed`, when none would
// succeed; then new connections and calls are refused, calls under way finish for as long as
// --drain-seconds allows, and the rest is cancelled. Returns when all is closed.
void Drain(const Config& config, bool device_failed, rpc::Listener& listener, rpc::Service& service,
           engine::Scheduler& scheduler);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_DRAIN_H_
