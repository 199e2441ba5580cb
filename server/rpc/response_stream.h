// The reactor of the streaming methods: it starts the call's work and writes the resulting events.

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

// The arguments of an Opener. All references are valid during the call of the opener.
struct Opening {
  const grpc::ByteBuffer& request;
  const Backend& backend;
  const Limits& limits;
  Call& call;
  std::shared_ptr<engine::EventStream> stream;  // takes the answer
};

// Parses the request and submits its work to the engine. If it returns OK, the events and the end
// of the call arrive in the stream, some of them perhaps already. Otherwise the call ends with the
// returned status.
using Opener = absl::Status (*)(const Opening& opening);

// The reactor of one call of Run or Sweep. It takes events from the engine's stream one at a time,
// each after the previous one has passed gRPC's flow control. So a slow reader delays only its own
// events, for which memory was reserved.
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
    // Called just before the client can see the end of the call, to release what the call holds:
    // the client's next call must be able to use it.
    std::function<void(Call& call)> ending;
    // Called from OnDone, with the status that the call ended with.
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
  // Requires the turn. Starts one write or ends the call, and keeps the turn; or gives up the turn
  // if there is nothing to do.
  void Proceed();
  // Requires the turn. Gives it up, or returns false and keeps it if there is something to do.
  bool GiveUpTurn();
  // Requires the turn. Stores the next message in `message_`, if there is one.
  absl::Status NextMessage(bool* found);
  // Requires the turn. Stores a message that is not a tensor in `message_`.
  template <typename Response>
  void TakeMessage(const Response& response);
  // Requires the turn, and keeps it forever. Ends the call; the object may be gone afterwards.
  void End(const absl::Status& status);
  // Records that the client no longer reads, and cancels the work.
  void Leave();

  const std::shared_ptr<const Backend> backend_;
  const Limits& limits_;
  const std::shared_ptr<net::WatchedCall> watched_;
  const Hooks hooks_;
  const std::shared_ptr<engine::EventStream> stream_;
  std::shared_ptr<ResponseStream> self_;  // until OnDone
  std::atomic<bool> gone_ = false;        // the client has left, or a write has failed
  std::atomic<bool> first_turn_taken_ = false;
  absl::Mutex mutex_;
  bool taken_ ABSL_GUARDED_BY(mutex_) = true;   // the turn; for ever once the call is finished
  bool again_ ABSL_GUARDED_BY(mutex_) = false;  // something happened while the turn was taken

  // Used only by the thread that has the turn.
  Call call_;
  grpc::ByteBuffer request_;            // until it is compiled
  std::optional<TensorChunks> tensor_;  // being written
  grpc::ByteBuffer message_;            // being written
  bool last_ = false;    // `message_` is the last one, and is written together with the status
  absl::Status status_;  // how the call ended
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_RESPONSE_STREAM_H_
