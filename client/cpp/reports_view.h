// Prints what interventions did.

#ifndef SCALPEL_CLIENT_CPP_REPORTS_VIEW_H_
#define SCALPEL_CLIENT_CPP_REPORTS_VIEW_H_

#include <vector>

#include "client/cpp/screen.h"
#include "proto/scalpel/v1/intervention.pb.h"

namespace scalpel::client {

// Prints a table with a row for each report; nothing if there are none.
void PrintReports(const Screen& screen, const std::vector<v1::InterventionReport>& reports);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_REPORTS_VIEW_H_
