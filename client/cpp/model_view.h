// Prints the response of GetModel as tables.

#ifndef SCALPEL_CLIENT_CPP_MODEL_VIEW_H_
#define SCALPEL_CLIENT_CPP_MODEL_VIEW_H_

#include "client/cpp/screen.h"
#include "proto/scalpel/v1/model.pb.h"

namespace scalpel::client {

void PrintModel(const Screen& screen, const v1::GetModelResponse& model);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_MODEL_VIEW_H_
