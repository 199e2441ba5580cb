// Run's side of the wire: compiles the request, hands it to the engine, and writes what comes back.

#ifndef SCALPEL_SERVER_RPC_RUN_STREAM_H_
#define SCALPEL_SERVER_RPC_RUN_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/engine/event_stream.h"
#include "server/limits.h"
#include "server/rpc/backend.h"
#include "server/rpc/call.h"
#include "server/rpc/codec.h"

namespace scalpel::rpc {

// The reactor of one Run call. Events are taken from the engine's stream one at a time, each when
// the one before has passed gRPC's flow control: a slow reader holds back only its own events, and
// those were reserved for it.
//
// Life: owns itself from Start until gRPC's OnDone; the engine refers to it weakly. Threads: gRPC's
// reactions and the engine's `ready` arrive on any thread and meet in Advance, which lets one of
// them at a time move the call on. No lock is held while gRPC or the engine is called.
class RunStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                        public std::enable_shared_from_this<RunStream> {
 public:
  // Begins the call. `backend` may be null: then the call ends with `unavailable`. `done` is called
  // last, when gRPC has forgotten the call.
  static RunStream* Start(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                          std::shared_ptr<const Backend> backend, const absl::Status& unavailable,
                          const Limits& limits, std::function<void()> done);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  RunStream(grpc::CallbackServerContext* context, std::shared_ptr<const Backend> backend,
            const Limits& limits, std::function<void()> done);

  // Compiles and submits the request. OK: the events come, or already are, in `stream_`.
  absl::Status Submit(const grpc::ByteBuffer& bytes);

  // Moves the call on, unless another thread is at it, which then does so in our stead.
  void Advance();
  // With the turn: starts one write or ends the call, and keeps the turn; or gives it up when there
  // is nothing to do.
  void Proceed();
  // With the turn: gives it up; false if there is something to do after all.
  bool GiveUpTurn();
  // With the turn: takes the next message, if there is one, into `message_`.
  absl::Status NextMessage(bool* found);
  // With the turn, for ever: ends the call. Nothing of this object may be used afterwards.
  void End(const absl::Status& status);
  // Nobody reads any more.
  void Leave();

  grpc::CallbackServerContext* const context_;
  const std::shared_ptr<const Backend> backend_;
  const Limits& limits_;
  const std::function<void()> done_;
  const std::shared_ptr<engine::EventStream> stream_ = std::make_shared<engine::EventStream>();
  std::shared_ptr<RunStream> self_;  // until OnDone
  std::atomic<bool> gone_ = false;   // nobody reads any more

  absl::Mutex mutex_;
  bool taken_ ABSL_GUARDED_BY(mutex_) = false;  // the turn; for ever once the call is finished
  bool again_ ABSL_GUARDED_BY(mutex_) = false;  // something happened while the turn was taken

  // Of the holder of the turn.
  Call call_;
  std::optional<TensorChunks> tensor_;  // being written
  grpc::ByteBuffer message_;            // being written
  grpc::Status status_;                 // once the call is ended
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_RUN_STREAM_H_
