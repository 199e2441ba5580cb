#include "client/cpp/generate_command.h"

#include <sstream>

#include "absl/status/statusor.h"
#include "client/cpp/affinity.h"
#include "client/cpp/call.h"
#include "client/cpp/generate_view.h"
#include "client/cpp/request_file.h"
#include "client/cpp/stream.h"
#include "client/cpp/wire_json.h"
#include "proto/scalpel/v1/service.grpc.pb.h"

namespace scalpel::client {
namespace {

// Prints the events of one stream as text or JSON.
class EventSink {
 public:
  EventSink(const Options& options, const Screen& screen)
      : json_(options.json), screen_(screen), view_(screen) {}

  absl::Status Add(const v1::GenerateResponse& response) {
    complete_ |= response.has_finished() || response.started().normalized().validate_only();
    if (json_) return PrintJson(screen_.out, response), absl::OkStatus();
    return view_.Add(response);
  }

  // To be called when the stream has ended with OK. Returns an error if it is incomplete.
  absl::Status Finish() const {
    return complete_ ? absl::OkStatus()
                     : absl::DataLossError("the stream ended without `finished`; run it again");
  }

  // Ends a line of text that was cut short.
  void EndLine() { view_.EndLine(); }

 private:
  const bool json_;
  const Screen screen_;
  GenerateView view_;
  bool complete_ = false;
};

}  // namespace

ExitCode RunGenerate(const Options& options, std::istream& in, const Screen& screen,
                     std::ostream& err) {
  const absl::StatusOr<v1::GenerateRequest> request = GenerateRequestOf(options, in);
  if (!request.ok()) return Fail(request.status(), kUsage, err);
  EventSink sink(options, screen);
  Call call(options);
  call.set_affinity(Affinity(request->prompts()));
  const auto stub = v1::InterventionService::NewStub(call.channel());
  const auto start = [&](grpc::ClientContext* context) {
    return stub->Generate(context, *request);
  };
  // An error is said below the text, not behind it.
  std::ostringstream reason;
  const ExitCode code = ReadStream<v1::GenerateResponse>(call, start, sink, screen, reason);
  sink.EndLine();
  err << reason.str();
  return code;
}

}  // namespace scalpel::client
