// A streaming call's side of the wire: begins its work, and writes what comes back.

#ifndef SCALPEL_SERVER_RPC_RESPONSE_STREAM_H_
#define SCALPEL_SERVER_RPC_RESPONSE_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/contract/limits.h"
#include "server/engine/event_stream.h"
#include "server/net/stall_watch.h"
#include "server/rpc/backend.h"
#include "server/rpc/call.h"
#include "server/rpc/codec.h"
#include "server/rpc/workers.h"

namespace scalpel::rpc {

// What a streaming call begins with.
struct Opening {
  const grpc::ByteBuffer& request;
  const Backend& backend;
  const Limits& limits;
  Call& call;
  std::shared_ptr<engine::EventStream> stream;  // takes the answer
};

// Reads the request and hands its work to the engine. OK: the events come, or already are, in the
// stream.
using Opener = absl::Status (*)(const Opening& opening);

// The reactor of one streaming call, whatever it streams. Events are taken from the engine's stream
// one at a time, each when the one before has passed gRPC's flow control: a slow reader holds back
// only its own events, and those were reserved for it.
//
// Life: owns itself from Start until gRPC's OnDone; the engine refers to it weakly.
//
// Threads: the request is read and compiled by a worker, which holds the turn meanwhile; if the
// call ends before its worker comes to it, the turn goes to OnCancel. From then on gRPC's reactions
// and the engine's `ready` arrive on any thread and meet in Advance, which lets one of them at a
// time move the call on. No lock is held while gRPC or the engine is called.
class ResponseStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                             public std::enable_shared_from_this<ResponseStream> {
 public:
  struct Hooks {
    // Just before the client can learn that the call has ended, so that its next one finds what
    // this one held given back.
    std::function<void(Call& call)> ending;
    // Last, when gRPC has forgotten the call, with how it ended.
    std::function<void(Call& call, const absl::Status& status)> done;
  };
  // Goes on with the call, if it was admitted, by `open` on a worker. `backend` may be null: then
  // the call ends with `unavailable`.
  static ResponseStream* Start(grpc::CallbackServerContext* context, Call call, Opener open,
                               const grpc::ByteBuffer& request,
                               std::shared_ptr<const Backend> backend,
                               const absl::Status& unavailable, const Limits& limits,
                               net::StallWatch& stalls, Workers& workers, Hooks hooks);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  ResponseStream(grpc::CallbackServerContext* context, Call call, const grpc::ByteBuffer& request,
                 std::shared_ptr<const Backend> backend, const Limits& limits,
                 net::StallWatch& stalls, Hooks hooks);

  // Whether the caller is the first to ask: it has the turn.
  bool TakesFirstTurn() { return !first_turn_taken_.exchange(true); }
  // With the turn: begins the call's work, and goes on.
  void Open(Opener open);
  // Moves the call on, unless another thread is at it, which then does so in our stead.
  void Advance();
  // With the turn: starts one write or ends the call, and keeps the turn; or gives it up when there
  // is nothing to do.
  void Proceed();
  // With the turn: gives it up; false if there is something to do after all.
  bool GiveUpTurn();
  // With the turn: takes the next message, if there is one, into `message_`.
  absl::Status NextMessage(bool* found);
  // The same of an event that is no tensor.
  template <typename Response>
  void TakeMessage(const Response& response);
  // With the turn, for ever: ends the call. Nothing of this object may be used afterwards.
  void End(const absl::Status& status);
  // Nobody reads any more.
  void Leave();

  grpc::CallbackServerContext* const context_;
  const std::shared_ptr<const Backend> backend_;
  const Limits& limits_;
  const std::shared_ptr<net::WatchedCall> watched_;
  const Hooks hooks_;
  const std::shared_ptr<engine::EventStream> stream_;
  std::shared_ptr<ResponseStream> self_;  // until OnDone
  std::atomic<bool> gone_ = false;        // nobody reads any more
  std::atomic<bool> first_turn_taken_ = false;
  absl::Mutex mutex_;
  bool taken_ ABSL_GUARDED_BY(mutex_) = true;   // the turn; for ever once the call is finished
  bool again_ ABSL_GUARDED_BY(mutex_) = false;  // something happened while the turn was taken

  // Of the holder of the turn.
  Call call_;
  grpc::ByteBuffer request_;            // until it is compiled
  std::optional<TensorChunks> tensor_;  // being written
  grpc::ByteBuffer message_;            // being written
  bool last_ = false;                   // it leaves together with the call's end, which follows
  absl::Status status_;                 // once the call is ended
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_RESPONSE_STREAM_H_
