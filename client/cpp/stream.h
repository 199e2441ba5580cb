// Reads a response stream to its end.

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

// Says on `err` why the command failed, and returns its exit code.
inline ExitCode Fail(const absl::Status& status, ExitCode code, std::ostream& err) {
  err << (code == kUsage ? "" : "scalpel-cli: ") << status.message() << "\n";
  return code;
}

// Hands every response of the stream that `start(context)` begins to `sink`, whose Add and Finish
// (at the stream's regular end) return an error where the stream cannot be used.
template <typename Response, typename Start, typename Sink>
ExitCode ReadStream(Call& call, Start start, Sink& sink, const Screen& screen, std::ostream& err) {
  absl::Status unusable;
  const grpc::Status status = call.Make([&](grpc::ClientContext* context) {
    const std::unique_ptr<grpc::ClientReader<Response>> reader = start(context);
    Response response;
    while (unusable.ok() && screen.out && reader->Read(&response)) {
      call.NoFurtherAttempt();  // what is on the screen stays there
      unusable = sink.Add(response);
      screen.out.flush();
    }
    // Whoever read the output went away, or the stream cannot be used: the server need not go on.
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
