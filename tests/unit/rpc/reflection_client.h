// A client of both versions of reflection.

#ifndef SCALPEL_TESTS_UNIT_RPC_REFLECTION_CLIENT_H_
#define SCALPEL_TESTS_UNIT_RPC_REFLECTION_CLIENT_H_

#include <grpcpp/channel.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/grpc/reflection/v1/reflection.grpc.pb.h"
#include "proto/grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "tests/unit/rpc/patience.h"

namespace scalpel::rpc {

struct V1 {
  using Definition = grpc::reflection::v1::ServerReflection;
  using Request = grpc::reflection::v1::ServerReflectionRequest;
  using Response = grpc::reflection::v1::ServerReflectionResponse;
};
struct V1Alpha {
  using Definition = grpc::reflection::v1alpha::ServerReflection;
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = grpc::reflection::v1alpha::ServerReflectionResponse;
};

// Asks all questions on one stream of either version.
template <typename Definition, typename Request, typename Response>
grpc::Status Ask(const std::shared_ptr<grpc::Channel>& channel,
                 const std::vector<Request>& requests, std::vector<Response>* responses) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  const auto stream = Definition::NewStub(channel)->ServerReflectionInfo(&context);
  for (const Request& request : requests) {
    Response response;
    if (!stream->Write(request) || !stream->Read(&response)) return stream->Finish();
    responses->push_back(std::move(response));
  }
  stream->WritesDone();
  Response more;
  EXPECT_FALSE(stream->Read(&more));
  return stream->Finish();
}

}  // namespace scalpel::rpc

#endif  // SCALPEL_TESTS_UNIT_RPC_REFLECTION_CLIENT_H_
