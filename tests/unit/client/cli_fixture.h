// The whole program against a server that plays back canned events.

#ifndef SCALPEL_TESTS_UNIT_CLIENT_CLI_FIXTURE_H_
#define SCALPEL_TESTS_UNIT_CLIENT_CLI_FIXTURE_H_

#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/cli.h"
#include "proto/scalpel/v1/service.grpc.pb.h"

namespace scalpel::client {

// Answers Run, Sweep and Generate with what a test gives it.
class FakeService : public v1::InterventionService::Service {
 public:
  using Stream = grpc::ServerWriter<v1::RunResponse>;

  std::function<grpc::Status(grpc::ServerContext&, const v1::RunRequest&, Stream&)> run;
  std::vector<v1::SweepResponse> sweep;
  std::vector<v1::GenerateResponse> generate;
  grpc::Status generate_status;  // after these
  std::function<grpc::Status(v1::GetStatusResponse&)> status;

  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*,
                         v1::GetStatusResponse* response) override {
    return status(*response);
  }

  grpc::Status Sweep(grpc::ServerContext*, const v1::SweepRequest*,
                     grpc::ServerWriter<v1::SweepResponse>* stream) override {
    for (const v1::SweepResponse& event : sweep) stream->Write(event);
    return grpc::Status::OK;
  }

  grpc::Status Generate(grpc::ServerContext*, const v1::GenerateRequest*,
                        grpc::ServerWriter<v1::GenerateResponse>* stream) override {
    for (const v1::GenerateResponse& event : generate) stream->Write(event);
    return generate_status;
  }

  grpc::Status Run(grpc::ServerContext* context, const v1::RunRequest* request,
                   Stream* stream) override {
    return run(*context, *request, *stream);
  }

  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override {
    if (!request->model().empty() && request->model() != "tiny") {
      return {grpc::StatusCode::NOT_FOUND, "model: no such model; the served one is `tiny`"};
    }
    response->set_model("tiny");
    response->mutable_config()->set_n_layer(4);
    response->mutable_config()->set_vocab_size(50257);
    response->mutable_config()->set_layer_norm_epsilon(1e-5);
    response->mutable_limits()->set_max_request_bytes(16 << 20);
    response->add_operations("zero");
    response->add_statistics(v1::STATISTIC_ABS_MAX);
    v1::SiteInfo* site = response->add_sites();
    site->set_name("k");
    site->set_unit_size(64);
    site->mutable_facts()->set_per_layer(true);
    site->mutable_facts()->set_editable(true);
    for (const auto axis : {v1::AXIS_POSITION, v1::AXIS_HEAD, v1::AXIS_UNIT}) {
      site->mutable_facts()->add_axes(axis);
    }
    for (const char* alias : {"attn.hook_k", "hook_k"}) site->mutable_facts()->add_aliases(alias);
    return grpc::Status::OK;
  }

  grpc::Status Tokenize(grpc::ServerContext*, const v1::TokenizeRequest* request,
                        v1::TokenizeResponse* response) override {
    response->add_ids(static_cast<int>(request->text().size()));
    response->add_tokens(request->text());
    return grpc::Status::OK;
  }

  grpc::Status Detokenize(grpc::ServerContext*, const v1::DetokenizeRequest* request,
                          v1::DetokenizeResponse* response) override {
    response->set_text(absl::StrCat(" ids\x1b ", request->ids_size()));
    return grpc::Status::OK;
  }
};

struct Outcome {
  int code;
  std::string out;
  std::string err;
};

class ClientCli : public testing::Test {
 protected:
  ClientCli() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }

  ~ClientCli() override { server_->Shutdown(std::chrono::system_clock::now()); }

  Outcome Program(const std::vector<std::string>& arguments, int columns = 80,
                  bool terminal = false, const std::string& token = "") {
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    const int code =
        RunProgram(arguments, {in, Screen{out, columns, terminal}, err, address_, terminal, token});
    return {code, out.str(), err.str()};
  }

  // Plays the events back to every run.
  void Play(std::vector<v1::RunResponse> events) {
    service_.run = [events = std::move(events)](grpc::ServerContext&, const v1::RunRequest&,
                                                FakeService::Stream& stream) {
      for (const v1::RunResponse& event : events) stream.Write(event);
      return grpc::Status::OK;
    };
  }

  FakeService service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

inline v1::RunResponse Event(const std::string& json) {
  v1::RunResponse event;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &event);
  EXPECT_TRUE(status.ok()) << status << " in " << json;
  return event;
}

inline v1::RunResponse Started(const std::string& statistics, bool clean) {
  return Event(absl::StrCat(
      R"({"started": {"requestId": "r1", "cost": {"tokens": 4, "flops": 2.5e9},
    "prompts": [{"ids": [10, 11], "tokens": ["The", " end"]}],
    "normalized": {"prompts": [{"tokenIds": {"ids": [10, 11]}}], "includeCleanRun": )",
      clean ? "true" : "false", R"(, "probes": [{"name": "resid_post[0]", "statistics": [)",
      statistics, "]}]}}}"));
}

inline std::string Result(int layer, bool clean, double std) {
  return absl::StrCat(R"({"name": "resid_post[0]", "site": "SITE_RESID_POST", "layer": )", layer,
                      R"(, "clean": )", clean ? "true" : "false",
                      R"(, "statistics": [{"statistic": "STATISTIC_STD", "values": [)",
                      std::isfinite(std) ? absl::StrCat(std) : "\"NaN\"", "]}]}");
}

inline v1::RunResponse Layer(int layer, const std::vector<std::string>& results) {
  return Event(absl::StrCat(R"({"layerStatistics": {"layer": )", layer, R"(, "results": [)",
                            absl::StrJoin(results, ","), "]}}"));
}

inline v1::RunResponse Finished() {
  return Event(
      R"({"finished": {"queueUs": 200, "computeUs": 31500,
                   "tokensComputed": 4, "tensorBytes": 12}})");
}

}  // namespace scalpel::client

#endif  // SCALPEL_TESTS_UNIT_CLIENT_CLI_FIXTURE_H_
