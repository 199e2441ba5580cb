#include "client/cpp/commands.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/call.h"
#include "client/cpp/generate_command.h"
#include "client/cpp/health.h"
#include "client/cpp/model_view.h"
#include "client/cpp/run_command.h"
#include "client/cpp/spec_request.h"
#include "client/cpp/status_command.h"
#include "client/cpp/sweep_command.h"
#include "client/cpp/table.h"
#include "client/cpp/text.h"
#include "client/cpp/wire_json.h"
#include "proto/scalpel/v1/service.grpc.pb.h"

namespace scalpel::client {
namespace {

ExitCode Model(const Options& options, const Screen& screen, std::ostream& err) {
  Call call(options);
  v1::GetModelRequest request;
  request.set_model(options.model);
  v1::GetModelResponse response;
  const auto stub = v1::InterventionService::NewStub(call.channel());
  const grpc::Status status = call.Make(
      [&](grpc::ClientContext* context) { return stub->GetModel(context, request, &response); });
  if (status.ok()) options.json ? PrintJson(screen.out, response) : PrintModel(screen, response);
  return call.End(status, err);
}

ExitCode Tokenize(const Options& options, const Screen& screen, std::ostream& err) {
  Call call(options);
  v1::TokenizeRequest request;
  request.set_model(options.model);
  request.set_text(options.arguments[0]);
  v1::TokenizeResponse response;
  const auto stub = v1::InterventionService::NewStub(call.channel());
  const grpc::Status status = call.Make(
      [&](grpc::ClientContext* context) { return stub->Tokenize(context, request, &response); });
  if (status.ok() && options.json) {
    PrintJson(screen.out, response);
  } else if (status.ok()) {
    std::vector<std::vector<std::string>> rows;
    for (int i = 0; i < response.ids_size(); ++i) {
      const std::string token = i < response.tokens_size() ? Quoted(response.tokens(i)) : "";
      rows.push_back({absl::StrCat(i), absl::StrCat(response.ids(i)), token});
    }
    PrintTable(screen, {{"position", true}, {"id", true}, {"token"}}, rows);
    screen.out << absl::StrJoin(response.ids(), ",") << "\n";
  }
  return call.End(status, err);
}

ExitCode Detokenize(const Options& options, const Screen& screen, std::ostream& err) {
  v1::DetokenizeRequest request;
  request.set_model(options.model);
  for (const std::string& argument : options.arguments) {
    const absl::StatusOr<std::vector<int32_t>> ids = Int32sOf("detokenize", argument);
    if (!ids.ok()) {
      err << ids.status().message() << "\n";
      return kUsage;
    }
    request.mutable_ids()->Add(ids->begin(), ids->end());
  }
  Call call(options);
  v1::DetokenizeResponse response;
  const auto stub = v1::InterventionService::NewStub(call.channel());
  const grpc::Status status = call.Make(
      [&](grpc::ClientContext* context) { return stub->Detokenize(context, request, &response); });
  if (status.ok() && options.json) {
    PrintJson(screen.out, response);
  } else if (status.ok()) {
    screen.out << Quoted(response.text()) << "\n";
  }
  return call.End(status, err);
}

ExitCode CheckServer(const Options& options, const Screen& screen, std::ostream& err) {
  Call call(options);
  Health health = Health::kUnknown;
  const std::string service = options.arguments.empty() ? "" : options.arguments[0];
  call.NoFurtherAttempt();  // an unreachable server is an answer, too
  const grpc::Status status = call.Make([&](grpc::ClientContext* context) {
    return CheckHealth(call.channel(), context, service, &health);
  });
  const std::string name = HealthName(health);
  if (status.ok()) {
    screen.out << (options.json ? absl::StrCat("{\"status\":\"", name, "\"}") : name) << "\n";
  }
  if (status.ok() && health != Health::kServing) return kNoServer;
  return call.End(status, err);
}

}  // namespace

ExitCode RunCommand(const Options& options, std::istream& in, const Screen& screen,
                    std::ostream& err, bool progress) {
  if (options.command == "run") return RunModel(options, in, screen, err);
  if (options.command == "sweep") return RunSweep(options, in, screen, err, progress);
  if (options.command == "generate") return RunGenerate(options, in, screen, err);
  if (options.command == "model") return Model(options, screen, err);
  if (options.command == "tokenize") return Tokenize(options, screen, err);
  if (options.command == "detokenize") return Detokenize(options, screen, err);
  if (options.command == "status") return ShowStatus(options, screen, err);
  if (options.command == "top") return ShowTop(options, screen, err);
  return CheckServer(options, screen, err);
}

}  // namespace scalpel::client
