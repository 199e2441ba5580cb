#include "server/rpc/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "proto/grpc/health/v1/health.pb.h"
#include "proto/grpc/reflection/v1/reflection.grpc.pb.h"
#include "proto/grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/base/errors.h"
#include "server/contract/limits.h"
#include "server/rpc/access_log.h"
#include "server/rpc/call.h"
#include "server/rpc/codec.h"
#include "server/rpc/errors.h"

namespace scalpel::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

constexpr size_t kRequestBytesMax = 4096;
constexpr int kRequestsMax = 1000;  // on one stream

const DescriptorPool& Pool() { return *DescriptorPool::generated_pool(); }

absl::Status Unknown(absl::string_view kind, absl::string_view name) {
  return absl::NotFoundError(
      absl::StrCat("there is no ", kind, " \"", absl::Utf8SafeCEscape(name), "\" here"));
}

// Adds the file, and then its imports, recursively.
void AddFile(const FileDescriptor& file, std::set<const FileDescriptor*>* added,
             grpc::reflection::v1::FileDescriptorResponse* response) {
  if (!added->insert(&file).second) return;
  FileDescriptorProto proto;
  file.CopyTo(&proto);
  response->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), added, response);
}

absl::Status DescribeFile(const FileDescriptor* file, absl::string_view kind,
                          absl::string_view name, ServerReflectionResponse* response) {
  if (file == nullptr) return Unknown(kind, name);
  std::set<const FileDescriptor*> added;
  AddFile(*file, &added, response->mutable_file_descriptor_response());
  return absl::OkStatus();
}

absl::Status DescribeExtension(const grpc::reflection::v1::ExtensionRequest& request,
                               ServerReflectionResponse* response) {
  const Descriptor* type = Pool().FindMessageTypeByName(request.containing_type());
  if (type == nullptr) return Unknown("message", request.containing_type());
  const FieldDescriptor* field = Pool().FindExtensionByNumber(type, request.extension_number());
  return DescribeFile(field == nullptr ? nullptr : field->file(), "extension",
                      absl::StrCat(request.extension_number(), " of ", request.containing_type()),
                      response);
}

absl::Status DescribeExtensionNumbers(const std::string& name, ServerReflectionResponse* response) {
  const Descriptor* type = Pool().FindMessageTypeByName(name);
  if (type == nullptr) return Unknown("message", name);
  std::vector<const FieldDescriptor*> extensions;
  Pool().FindAllExtensions(type, &extensions);
  auto* numbers = response->mutable_all_extension_numbers_response();
  numbers->set_base_type_name(name);
  for (const FieldDescriptor* extension : extensions) {
    numbers->add_extension_number(extension->number());
  }
  std::sort(numbers->mutable_extension_number()->begin(),
            numbers->mutable_extension_number()->end());
  return absl::OkStatus();
}

absl::Status Describe(const ServerReflectionRequest& request,
                      const std::vector<std::string>& services,
                      ServerReflectionResponse* response) {
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename: {
      const std::string& name = request.file_by_filename();
      return DescribeFile(Pool().FindFileByName(name), "file", name, response);
    }
    case ServerReflectionRequest::kFileContainingSymbol: {
      const std::string& name = request.file_containing_symbol();
      return DescribeFile(Pool().FindFileContainingSymbol(name), "symbol", name, response);
    }
    case ServerReflectionRequest::kFileContainingExtension:
      return DescribeExtension(request.file_containing_extension(), response);
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      return DescribeExtensionNumbers(request.all_extension_numbers_of_type(), response);
    case ServerReflectionRequest::kListServices:
      for (const std::string& service : services) {
        response->mutable_list_services_response()->add_service()->set_name(service);
      }
      return absl::OkStatus();
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("the request has no message_request that this server knows");
}

// One stream: reads a request, writes its response, and repeats. gRPC calls one reaction at a time,
// since at most one read or write is in progress. Owns itself, and is deleted in OnDone.
class ReflectionStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  ReflectionStream(grpc::CallbackServerContext* context, const std::vector<std::string>& services,
                   const Admit& admit)
      : context_(context),
        services_(services),
        call_(ReceiveCall(context, "ServerReflectionInfo")) {
    const absl::Status admitted = Guarded([&] { return admit(context, &call_); });
    if (admitted.ok()) {
      StartRead(&request_);
    } else {
      End(admitted);
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) return End(context_->IsCancelled() ? Cancelled() : absl::OkStatus());
    const absl::Status status = Guarded([this] { return Answer(); });
    if (status.ok()) {
      StartWrite(&response_);
    } else {
      End(status);
    }
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return End(Cancelled());
    request_.Clear();
    StartRead(&request_);
  }

  void OnDone() override {
    LogCall(call_, absl::StatusCodeToString(WireCode(status_)), ReasonOf(status_),
            absl::Now() - call_.began);
    delete this;
  }

 private:
  absl::Status Cancelled() const { return CancellationStatus(call_, absl::Now()); }

  absl::Status Answer() {
    if (++answered_ > kRequestsMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("more than ", kRequestsMax, " requests on one stream; begin another"));
    }
    if (request_.Length() > kRequestBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("the request is longer than ", kRequestBytesMax, " bytes"));
    }
    ServerReflectionRequest request;
    const absl::Status status = Parse(request_, Limits(), &request);
    if (status.ok()) response_ = Serialize(AnswerReflection(request, services_));
    return status;
  }

  void End(const absl::Status& status) {
    status_ = status;
    call_.permit.reset();  // before the client sees the end, so that it can call again at once
    Finish(ToGrpc(status, call_.request_id));
  }

  grpc::CallbackServerContext* const context_;
  const std::vector<std::string>& services_;
  Call call_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  int answered_ = 0;
  absl::Status status_;
};

// Implements either version. Their messages are identical on the wire, so both are parsed as v1.
template <typename Definition>
class ReflectionService final
    : public Definition::template WithRawCallbackMethod_ServerReflectionInfo<
          typename Definition::Service> {
 public:
  ReflectionService(std::vector<std::string> services, Admit admit)
      : services_(std::move(services)), admit_(std::move(admit)) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ServerReflectionInfo(
      grpc::CallbackServerContext* context) override {
    return new ReflectionStream(context, services_, admit_);
  }

 private:
  const std::vector<std::string> services_;
  const Admit admit_;
};

}  // namespace

std::vector<std::string> ReflectionNames() {
  return {grpc::reflection::v1::ServerReflection::service_full_name(),
          grpc::reflection::v1alpha::ServerReflection::service_full_name()};
}

std::vector<std::unique_ptr<grpc::Service>> MakeReflection(const std::vector<std::string>& services,
                                                           const Admit& admit) {
  // Links descriptors that nothing else uses: gRPC implements the health service without them, and
  // v1alpha is parsed as v1.
  google::protobuf::LinkMessageReflection<grpc::health::v1::HealthCheckRequest>();
  google::protobuf::LinkMessageReflection<grpc::reflection::v1alpha::ServerReflectionRequest>();
  std::vector<std::unique_ptr<grpc::Service>> both;
  both.push_back(
      std::make_unique<ReflectionService<grpc::reflection::v1::ServerReflection>>(services, admit));
  both.push_back(std::make_unique<ReflectionService<grpc::reflection::v1alpha::ServerReflection>>(
      services, admit));
  return both;
}

ServerReflectionResponse AnswerReflection(const ServerReflectionRequest& request,
                                          const std::vector<std::string>& services) {
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  const absl::Status status = Describe(request, services, &response);
  if (!status.ok()) {
    response.mutable_error_response()->set_error_code(static_cast<int>(status.code()));
    response.mutable_error_response()->set_error_message(std::string(status.message()));
  }
  return response;
}

}  // namespace scalpel::rpc
