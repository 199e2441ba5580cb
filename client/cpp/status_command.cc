#include "client/cpp/status_command.h"

#include <cstdint>
#include <sstream>
#include <string>

#include "absl/time/time.h"
#include "client/cpp/call.h"
#include "client/cpp/status_view.h"
#include "client/cpp/wire_json.h"
#include "proto/scalpel/v1/service.grpc.pb.h"

namespace scalpel::client {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(1);

using Stub = v1::InterventionService::Stub;

grpc::Status Ask(const Options& options, Call& call, Stub& stub, v1::GetStatusResponse* answer) {
  v1::GetStatusRequest request;
  request.set_model(options.model);
  return call.Make(
      [&](grpc::ClientContext* context) { return stub.GetStatus(context, request, answer); });
}

// Writes the whole text at once, so that the terminal does not show half of it.
void Draw(const Screen& screen, const v1::GetStatusResponse& now,
          const v1::GetStatusResponse& before, bool first) {
  std::ostringstream picture;
  Screen canvas{picture, screen.columns, screen.colour, screen.terminal};
  PrintStatus(canvas, now, before);
  if (screen.terminal) {
    screen.out << "\x1b[H\x1b[J";  // moves to the top left corner and clears the screen
  } else if (!first) {
    screen.out << "\n";
  }
  screen.out << picture.str() << std::flush;
}

}  // namespace

ExitCode ShowStatus(const Options& options, const Screen& screen, std::ostream& err) {
  Call call(options);
  const auto stub = v1::InterventionService::NewStub(call.channel());
  v1::GetStatusResponse answer;
  const grpc::Status status = Ask(options, call, *stub, &answer);
  if (status.ok() && options.json) PrintJson(screen.out, answer);
  if (status.ok() && !options.json) PrintStatus(screen, answer, v1::GetStatusResponse());
  return call.End(status, err);
}

ExitCode ShowTop(const Options& options, const Screen& screen, std::ostream& err) {
  Call call(options);
  const auto stub = v1::InterventionService::NewStub(call.channel());
  v1::GetStatusResponse before;
  for (int32_t shown = 0; options.refreshes == 0 || shown < options.refreshes; ++shown) {
    if (shown > 0 && !call.Pause(kInterval)) return kDone;
    v1::GetStatusResponse now;
    const grpc::Status status = Ask(options, call, *stub, &now);
    if (call.interrupted()) return kDone;
    if (!status.ok()) return call.End(status, err);
    if (options.json) {
      PrintJson(screen.out, now);
      screen.out.flush();
    } else {
      Draw(screen, now, before, shown == 0);
    }
    if (!screen.out) return kDone;
    before = now;
  }
  return kDone;
}

}  // namespace scalpel::client
