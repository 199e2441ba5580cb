// Reads response streams.

#ifndef SCALPEL_CLIENT_CPP_STREAM_H_
#define SCALPEL_CLIENT_CPP_STREAM_H_

#include <memory>
#include <ostream>

#include "absl/status/status.h"
#include "client/cpp/call.h"
#include "client/cpp/errors.h"
#include "client/cpp/screen.h"
#include "grpcpp/support/sync_stream.h"

namespace scalpel::client {

// Prints to `err` why the command failed, and returns `code`.
inline ExitCode Fail(const absl::Status& status, ExitCode code, std::ostream& err) {
  err << (code == kUsage ? "" : "scalpel-cli: ") << status.message() << "\n";
  return code;
}

// Reads the stream that `start(context)` returns, and passes each response to `sink.Add`. If the
// stream ends with OK, calls `sink.Finish`. Both return an error if the stream violates the
// protocol; then the call is cancelled. Returns the exit code, after printing errors to `err`.
template <typename Response, typename Start, typename Sink>
ExitCode ReadStream(Call& call, Start start, Sink& sink, const Screen& screen, std::ostream& err) {
  absl::Status unusable;
  const grpc::Status status = call.Make([&](grpc::ClientContext* context) {
    const std::unique_ptr<grpc::ClientReader<Response>> reader = start(context);
    Response response;
    while (unusable.ok() && screen.out && reader->Read(&response)) {
      call.NoFurtherAttempt();  // because output cannot be taken back
      unusable = sink.Add(response);
      screen.out.flush();
    }
    // The output is closed, or the stream is invalid: the server need not continue.
    if (!unusable.ok() || !screen.out) context->TryCancel();
    return reader->Finish();
  });
  if (!unusable.ok()) return Fail(unusable, kFailed, err);
  if (!screen.out) return kDone;
  if (status.ok()) unusable = sink.Finish();
  if (!unusable.ok()) return Fail(unusable, kFailed, err);
  return call.End(status, err);
}

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_STREAM_H_
