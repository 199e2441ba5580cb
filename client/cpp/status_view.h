// GetStatus's answer as tables.

#ifndef SCALPEL_CLIENT_CPP_STATUS_VIEW_H_
#define SCALPEL_CLIENT_CPP_STATUS_VIEW_H_

#include "client/cpp/screen.h"
#include "proto/scalpel/v1/service.pb.h"

namespace scalpel::client {

// Rates are those since `before`, an earlier answer of the same server; of another one, or an empty
// one, those since the server started.
void PrintStatus(const Screen& screen, const v1::GetStatusResponse& now,
                 const v1::GetStatusResponse& before);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_STATUS_VIEW_H_
