#include "client/cpp/run_command.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "client/cpp/affinity.h"
#include "client/cpp/call.h"
#include "client/cpp/request_file.h"
#include "client/cpp/run_view.h"
#include "client/cpp/stream.h"
#include "client/cpp/tensor_files.h"
#include "client/cpp/tensors.h"
#include "client/cpp/wire_json.h"
#include "proto/scalpel/v1/service.grpc.pb.h"

namespace scalpel::client {
namespace {

// Prints the events of one stream as text or JSON, and saves its tensors.
class EventSink {
 public:
  EventSink(const Options& options, const Screen& screen)
      : json_(options.json), screen_(screen), view_(screen) {
    if (!options.save_folder.empty()) files_.emplace(options.save_folder);
  }

  absl::Status Open() { return files_ ? files_->Open() : absl::OkStatus(); }

  absl::Status Add(const v1::RunResponse& response) {
    complete_ |= response.has_finished() || response.started().normalized().validate_only();
    if (json_) {
      PrintJson(screen_.out, response);
    } else {
      view_.Add(response);
    }
    return response.has_tensor_chunk() ? AddChunk(response.tensor_chunk()) : absl::OkStatus();
  }

  // To be called when the stream has ended with OK. Returns an error if it is incomplete.
  absl::Status Finish() const {
    if (const absl::Status status = assembler_.Finish(); !status.ok()) return status;
    return complete_ ? absl::OkStatus()
                     : absl::DataLossError("the stream ended without `finished`; run it again");
  }

 private:
  absl::Status AddChunk(const v1::TensorChunk& chunk) {
    absl::StatusOr<std::optional<StreamedTensor>> tensor = assembler_.Add(chunk);
    if (!tensor.ok() || !tensor->has_value()) return tensor.status();
    const v1::TensorHeader header = (*tensor)->header;
    absl::StatusOr<std::string> path = "";
    if (files_) path = files_->Save(*std::move(*tensor));
    if (path.ok() && !json_) view_.AddTensor(header, *path);
    return path.status();
  }

  const bool json_;
  const Screen screen_;
  RunView view_;
  std::optional<TensorFiles> files_;
  TensorAssembler assembler_;
  bool complete_ = false;
};

}  // namespace

ExitCode RunModel(const Options& options, std::istream& in, const Screen& screen,
                  std::ostream& err) {
  const absl::StatusOr<v1::RunRequest> request = RequestOf(options, in);
  if (!request.ok()) return Fail(request.status(), kUsage, err);
  EventSink sink(options, screen);
  if (const absl::Status status = sink.Open(); !status.ok()) return Fail(status, kUsage, err);

  Call call(options);
  call.set_affinity(Affinity(request->prompts()));
  const auto stub = v1::InterventionService::NewStub(call.channel());
  const auto start = [&](grpc::ClientContext* context) { return stub->Run(context, *request); };
  return ReadStream<v1::RunResponse>(call, start, sink, screen, err);
}

}  // namespace scalpel::client
