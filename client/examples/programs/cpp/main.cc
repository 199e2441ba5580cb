// Scalpel from C++: statistics and tensors of a run, a refused request, a deadline, a cancel.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <exception>
#include <iomanip>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "scalpel/v1/service.grpc.pb.h"
#include "tensors.h"
#include "vectors.h"

namespace v1 = scalpel::v1;

namespace {

using Stub = v1::InterventionService::Stub;
using Reader = grpc::ClientReader<v1::RunResponse>;

constexpr std::string_view kText = "When Mary and John went to the store, John gave a drink to";

// Block 9 scaled by 0.1, beside the clean run; statistics, and an attention pattern.
v1::RunRequest MakeRequest(int prompts) {
  std::string text(kText);
  for (int i = 1; i < 16; ++i) text.append(" ").append(kText);
  v1::RunRequest request;
  for (int i = 0; i < prompts; ++i) request.add_prompts()->set_text(text);
  v1::Intervention* scale = request.add_interventions();
  scale->mutable_place()->set_path("blocks.9.hook_resid_post");
  scale->mutable_scale()->set_factor(0.1);
  v1::Probe* probe = request.add_probes();
  probe->mutable_place()->set_path("resid_post");
  probe->add_statistics(v1::STATISTIC_STD);
  request.add_captures()->mutable_place()->set_path("blocks.10.attn.hook_pattern");
  request.mutable_logits()->mutable_none();
  request.set_include_clean_run(true);
  return request;
}

// A request of seconds: the medians of the attention patterns of 32 prompts.
v1::RunRequest SlowRequest() {
  v1::RunRequest request = MakeRequest(32);
  v1::Probe* median = request.add_probes();
  median->mutable_place()->set_path("pattern");
  median->add_quantiles(0.5);
  return request;
}

[[noreturn]] void Fail(const grpc::Status& status) {
  throw std::runtime_error(std::to_string(status.error_code()) + ": " + status.error_message());
}

std::string CodeName(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::INVALID_ARGUMENT:
      return "INVALID_ARGUMENT";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    default:
      Fail(status);
  }
}

void PrintStatistics(const v1::LayerStatistics& layer) {
  double clean = 0;
  double edited = 0;
  for (const v1::ProbeResult& result : layer.results()) {
    (result.clean() ? clean : edited) = result.statistics(0).values(0);
  }
  std::cout << std::fixed << std::setprecision(4) << "layer " << layer.layer() << " std clean "
            << clean << " edited " << edited << "\n";
}

// Events arrive while later layers still compute.
void Run(Stub& stub) {
  grpc::ClientContext context;
  const std::unique_ptr<Reader> reader = stub.Run(&context, MakeRequest(1));
  Assembler assembler;
  v1::RunResponse response;
  while (reader->Read(&response)) {
    switch (response.event_case()) {
      case v1::RunResponse::kStarted:
        std::cout << "started " << response.started().prompts(0).ids_size() << " tokens\n";
        break;
      case v1::RunResponse::kLayerStatistics:
        PrintStatistics(response.layer_statistics());
        break;
      case v1::RunResponse::kTensorChunk:
        if (const auto line = assembler.Add(response.tensor_chunk())) std::cout << *line << "\n";
        break;
      default:
        break;
    }
  }
  if (const grpc::Status status = reader->Finish(); !status.ok()) Fail(status);
  assembler.Finish();
}

// Reads a stream to its end, which must be an error, and returns that.
grpc::Status ErrorOf(Reader& reader) {
  v1::RunResponse response;
  while (reader.Read(&response)) {
  }
  const grpc::Status status = reader.Finish();
  if (status.ok()) throw std::runtime_error("the run was complete");
  return status;
}

// A wrong request is answered with every violation at once.
void Refused(Stub& stub) {
  v1::RunRequest request = MakeRequest(1);
  v1::Intervention* scale = request.mutable_interventions(0);
  scale->mutable_place()->set_path("resid_post");
  scale->mutable_place()->mutable_where()->add_layers(1000);
  scale->mutable_scale()->clear_factor();
  grpc::ClientContext context;
  const grpc::Status refusal = ErrorOf(*stub.Run(&context, request));
  std::cout << "refused " << CodeName(refusal) << "\n";
  google::rpc::Status details;
  if (!details.ParseFromString(refusal.error_details())) Fail(refusal);
  for (const auto& detail : details.details()) {
    google::rpc::BadRequest bad;
    if (!detail.UnpackTo(&bad)) continue;
    for (const auto& violation : bad.field_violations()) {
      std::cout << "violation " << violation.field() << ": " << violation.description() << "\n";
    }
  }
}

void Deadline(Stub& stub) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  const grpc::Status end = ErrorOf(*stub.Run(&context, SlowRequest()));
  std::cout << "deadline " << CodeName(end) << "\n";
}

void Cancel(Stub& stub) {
  grpc::ClientContext context;
  const std::unique_ptr<Reader> reader = stub.Run(&context, SlowRequest());
  v1::RunResponse first;
  if (!reader->Read(&first)) Fail(reader->Finish());
  context.TryCancel();
  const grpc::Status end = ErrorOf(*reader);
  if (end.error_code() != grpc::StatusCode::CANCELLED) Fail(end);
  const auto* event = first.GetDescriptor()->FindFieldByNumber(first.event_case());
  std::cout << "cancelled after " << event->name() << "\n";
}

void Talk(const std::string& address) {
  // With TLS: grpc::SslCredentials({}).
  // With a token: context.AddMetadata("authorization", "Bearer " + token) for each call.
  const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  const std::unique_ptr<Stub> stub = v1::InterventionService::NewStub(channel);
  Run(*stub);
  Refused(*stub);
  Deadline(*stub);
  Cancel(*stub);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    if (arguments.size() == 2 && arguments[0] == "check-vectors") {
      CheckVectors(arguments[1]);
    } else {
      Talk(arguments.empty() ? "127.0.0.1:50051" : arguments[0]);
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
