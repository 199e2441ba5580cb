// Prints where a run first produced an infinity or NaN.

#ifndef SCALPEL_CLIENT_CPP_NON_FINITE_H_
#define SCALPEL_CLIENT_CPP_NON_FINITE_H_

#include <string>

#include "client/cpp/screen.h"
#include "proto/scalpel/v1/run.pb.h"

namespace scalpel::client {

// Prints the place of the first value that is not finite. `whose`: what it belongs to, such as the
// variant's name; may be empty.
void PrintNonFinite(const Screen& screen, const std::string& whose,
                    const v1::FirstNonFinite& first);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_NON_FINITE_H_
