// Exports as metrics the values that other rooms count. The objects passed must outlive the last
// read of `sources`.

#ifndef SCALPEL_SERVER_PROGRAM_METRIC_SOURCES_H_
#define SCALPEL_SERVER_PROGRAM_METRIC_SOURCES_H_

#include "server/contract/limits.h"
#include "server/insight/sources.h"
#include "server/program/gatekeeper.h"
#include "server/rpc/backend.h"
#include "server/rpc/listener.h"

namespace scalpel {

// Adds the reloads of the token file, if there is one.
void AddGatekeeper(const Gatekeeper& gatekeeper, insight::Sources& sources);

// Adds the reloads of the TLS files.
void AddListener(const rpc::Listener& listener, insight::Sources& sources);

// Adds the engine, its cache, the connections, and the build info. The backend's functions are
// copied and called at each read.
void AddBackend(const rpc::Backend& backend, const Limits& limits, insight::Sources& sources);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_METRIC_SOURCES_H_
