// Prints what the server answers before it runs a request.

#ifndef SCALPEL_CLIENT_CPP_STARTED_VIEW_H_
#define SCALPEL_CLIENT_CPP_STARTED_VIEW_H_

#include <string>

#include "absl/time/time.h"
#include "client/cpp/screen.h"
#include "proto/scalpel/v1/prompt.pb.h"
#include "proto/scalpel/v1/run.pb.h"

namespace scalpel::client {

// Prints a line for each of the first few prompts, and how many more there are.
void PrintPrompts(const Screen& screen,
                  const google::protobuf::RepeatedPtrField<v1::TokenizedPrompt>& prompts);

// Prints the cost, and the request as the server has normalised it.
void PrintPlan(const Screen& screen, const v1::Cost& cost, const std::string& digest,
               const google::protobuf::Message& normalized);

// Formats a number of operations, as in `76.9 MFLOP`.
std::string Flops(double flops);

// Formats a duration, as in `30.2 ms`.
std::string Milliseconds(absl::Duration duration);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_STARTED_VIEW_H_
