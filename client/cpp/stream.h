// Reads a response stream to its end.

#ifndef SCALPEL_CLIENT_CPP_STREAM_H_
#define SCALPEL_CLIENT_CPP_STREAM_H_

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

// Hands every response to `sink`, whose Add and Finish (at the stream's regular end) return an
// error where the stream cannot be used.
template <typename Response, typename Sink>
ExitCode ReadStream(Call& call, grpc::ClientReader<Response>& reader, Sink& sink,
                    const Screen& screen, std::ostream& err) {
  Response response;
  absl::Status unusable;
  while (unusable.ok() && screen.out && reader.Read(&response)) {
    unusable = sink.Add(response);
    screen.out.flush();
  }
  // Whoever read the output went away, or the stream cannot be used: the server need not go on.
  if (!unusable.ok() || !screen.out) call.context()->TryCancel();
  const grpc::Status status = reader.Finish();
  if (!unusable.ok()) return Fail(unusable, kFailed, err);
  if (!screen.out) return kDone;
  if (status.ok()) unusable = sink.Finish();
  if (!unusable.ok()) return Fail(unusable, kFailed, err);
  return call.End(status, err);
}

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_STREAM_H_
