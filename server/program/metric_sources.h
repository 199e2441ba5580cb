// What the parts of this program count themselves, as metrics.

#ifndef SCALPEL_SERVER_PROGRAM_METRIC_SOURCES_H_
#define SCALPEL_SERVER_PROGRAM_METRIC_SOURCES_H_

#include "server/base/limits.h"
#include "server/insight/sources.h"
#include "server/program/gatekeeper.h"
#include "server/rpc/backend.h"
#include "server/rpc/listener.h"

namespace scalpel {

// How often the file of tokens was read anew; nothing without one.
void AddGatekeeper(const Gatekeeper& gatekeeper, insight::Sources& sources);

// How often TLS's files were read anew.
void AddListener(const rpc::Listener& listener, insight::Sources& sources);

// The engine, its cache, and what is served. The backend's functions are called until `sources` is
// read no more.
void AddBackend(const rpc::Backend& backend, const Limits& limits, insight::Sources& sources);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_METRIC_SOURCES_H_
