// Where a run's numbers stop to mean anything.

#ifndef SCALPEL_CLIENT_CPP_NON_FINITE_H_
#define SCALPEL_CLIENT_CPP_NON_FINITE_H_

#include <string>

#include "client/cpp/screen.h"
#include "proto/scalpel/v1/spec.pb.h"

namespace scalpel::client {

// Prints where the first value arose that is infinite or NaN. `whose`: such as the variant, or
// empty.
void PrintNonFinite(const Screen& screen, const std::string& whose,
                    const v1::FirstNonFinite& first);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_NON_FINITE_H_
