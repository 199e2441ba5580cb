#include "client/cpp/health.h"

#include "google/protobuf/wrappers.pb.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"

namespace scalpel::client {

// HealthCheckRequest is a string with field number 1 and HealthCheckResponse an enum with field
// number 1. On the wire they equal the well-known wrapper messages, so no copy of the health
// protocol is needed.
grpc::Status CheckHealth(const std::shared_ptr<grpc::Channel>& channel,
                         grpc::ClientContext* context, const std::string& service, Health* health) {
  google::protobuf::StringValue question;
  question.set_value(service);
  const grpc::Slice slice(question.SerializeAsString());
  grpc::CompletionQueue queue;
  grpc::GenericStub stub(channel);
  const auto call = stub.PrepareUnaryCall(context, "/grpc.health.v1.Health/Check",
                                          grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, /*tag=*/nullptr);
  void* tag;
  bool ok;
  queue.Next(&tag, &ok);  // waits no longer than the call's deadline
  if (!status.ok()) return status;
  grpc::Slice bytes;
  google::protobuf::Int32Value answer;
  if (!response.DumpToSingleSlice(&bytes).ok() ||
      !answer.ParseFromArray(bytes.begin(), static_cast<int>(bytes.size()))) {
    return {grpc::StatusCode::INTERNAL, "the health service's answer cannot be read"};
  }
  *health = static_cast<Health>(answer.value());
  return status;
}

std::string HealthName(Health health) {
  switch (health) {
    case Health::kServing:
      return "SERVING";
    case Health::kNotServing:
      return "NOT_SERVING";
    case Health::kServiceUnknown:
      return "SERVICE_UNKNOWN";
    case Health::kUnknown:
      break;
  }
  return "UNKNOWN";
}

}  // namespace scalpel::client
