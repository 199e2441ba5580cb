// Fuzzes the parser of messages from the wire. How a message is cut into slices changes nothing;
// what is accepted serializes to bytes that are accepted again as the same message; and a message
// in memory is not much larger than its bytes and its fields allow.

#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "proto/scalpel/v1/service.pb.h"
#include "server/contract/limits.h"
#include "server/rpc/codec.h"
#include "tests/fuzz/fuzz.h"

namespace {

using google::protobuf::Message;

// Few enough for the fuzzer to go beyond them.
constexpr int kFieldsMax = 200;
// The largest object that one field can become, with its share of the list that it is in.
constexpr int kFieldBytes = 400;

grpc::ByteBuffer Buffer(std::string_view bytes, size_t slice_bytes) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += slice_bytes)
    slices.emplace_back(std::string(bytes.substr(at, slice_bytes)));
  return {slices.data(), slices.size()};
}

std::string Bytes(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  HOLDS(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

void Check(const Message& type, std::string_view bytes, size_t slice_bytes,
           const scalpel::Limits& limits) {
  const std::unique_ptr<Message> message(type.New()), sliced(type.New()), again(type.New());
  const absl::Status status =
      scalpel::rpc::Parse(Buffer(bytes, bytes.size() + 1), limits, message.get());
  HOLDS(status == scalpel::rpc::Parse(Buffer(bytes, slice_bytes), limits, sliced.get()));
  if (!status.ok()) {
    HOLDS(absl::IsInvalidArgument(status));
    return scalpel::fuzz::HoldsForMessage(status);
  }
  HOLDS(message->SpaceUsedLong() <= 16 * bytes.size() + kFieldBytes * (kFieldsMax + 1));
  const std::string written = Bytes(scalpel::rpc::Serialize(*message));
  HOLDS(written == Bytes(scalpel::rpc::Serialize(*sliced)));
  HOLDS(scalpel::rpc::Parse(Buffer(written, slice_bytes), limits, again.get()).ok());
  HOLDS(written == Bytes(scalpel::rpc::Serialize(*again)));
}

}  // namespace

// The first byte chooses the slices' size; the others are the message.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* limits = [] {
    auto* made = new scalpel::Limits;
    (*made)->set_max_request_fields(kFieldsMax);
    return made;
  }();
  if (size == 0) return 0;
  const std::string_view bytes = scalpel::fuzz::Text(data + 1, size - 1);
  const size_t slice_bytes = std::max<size_t>(data[0], 1);
  for (const Message* type :
       std::vector<const Message*>{&scalpel::v1::RunRequest::default_instance(),
                                   &scalpel::v1::SweepRequest::default_instance(),
                                   &scalpel::v1::TokenizeRequest::default_instance(),
                                   &scalpel::v1::DetokenizeRequest::default_instance()})
    Check(*type, bytes, slice_bytes, *limits);
  return 0;
}
