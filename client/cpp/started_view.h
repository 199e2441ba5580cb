// What a server says of a request before it runs.

#ifndef SCALPEL_CLIENT_CPP_STARTED_VIEW_H_
#define SCALPEL_CLIENT_CPP_STARTED_VIEW_H_

#include <string>

#include "absl/time/time.h"
#include "client/cpp/screen.h"
#include "proto/scalpel/v1/spec.pb.h"

namespace scalpel::client {

// One line for each, the first few.
void PrintPrompts(const Screen& screen,
                  const google::protobuf::RepeatedPtrField<v1::TokenizedPrompt>& prompts);

// The cost, and the request as the server understands it.
void PrintPlan(const Screen& screen, const v1::Cost& cost, const std::string& digest,
               const google::protobuf::Message& normalized);

// `76.9 MFLOP`.
std::string Flops(double flops);

// `30.2 ms`.
std::string Milliseconds(absl::Duration duration);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_STARTED_VIEW_H_
