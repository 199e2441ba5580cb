// Prints the response of GetStatus as tables.

#ifndef SCALPEL_CLIENT_CPP_STATUS_VIEW_H_
#define SCALPEL_CLIENT_CPP_STATUS_VIEW_H_

#include "client/cpp/screen.h"
#include "proto/scalpel/v1/server_status.pb.h"

namespace scalpel::client {

// Prints `now`, with rates since `before`, an earlier response. If `before` is empty or from
// another server process, the rates are since the server started.
void PrintStatus(const Screen& screen, const v1::GetStatusResponse& now,
                 const v1::GetStatusResponse& before);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_STATUS_VIEW_H_
