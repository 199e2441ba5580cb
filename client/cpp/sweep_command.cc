#include "client/cpp/sweep_command.h"

#include "absl/status/statusor.h"
#include "client/cpp/affinity.h"
#include "client/cpp/call.h"
#include "client/cpp/request_file.h"
#include "client/cpp/stream.h"
#include "client/cpp/sweep_view.h"
#include "client/cpp/wire_json.h"
#include "proto/scalpel/v1/service.grpc.pb.h"

namespace scalpel::client {
namespace {

// Prints the events of one stream as text or JSON.
class EventSink {
 public:
  EventSink(const Options& options, const Screen& screen, std::ostream* progress)
      : json_(options.json), screen_(screen), view_(screen, json_ ? nullptr : progress) {}

  absl::Status Add(const v1::SweepResponse& response) {
    complete_ |= response.has_finished() || response.started().normalized().validate_only();
    if (json_) {
      PrintJson(screen_.out, response);
    } else {
      view_.Add(response);
    }
    return absl::OkStatus();
  }

  // To be called when the stream has ended with OK. Returns an error if it is incomplete.
  absl::Status Finish() const {
    return complete_ ? absl::OkStatus()
                     : absl::DataLossError("the stream ended without `finished`; run it again");
  }

 private:
  const bool json_;
  const Screen screen_;
  SweepView view_;
  bool complete_ = false;
};

}  // namespace

ExitCode RunSweep(const Options& options, std::istream& in, const Screen& screen, std::ostream& err,
                  bool progress) {
  const absl::StatusOr<v1::SweepRequest> request = SweepRequestOf(options, in);
  if (!request.ok()) return Fail(request.status(), kUsage, err);
  EventSink sink(options, screen, progress ? &err : nullptr);
  Call call(options);
  call.set_affinity(Affinity(request->prompts()));
  const auto stub = v1::InterventionService::NewStub(call.channel());
  const auto start = [&](grpc::ClientContext* context) { return stub->Sweep(context, *request); };
  return ReadStream<v1::SweepResponse>(call, start, sink, screen, err);
}

}  // namespace scalpel::client
