// A unary call whose answer is so large that it matters who reads it.

#ifndef SCALPEL_SERVER_RPC_LARGE_ANSWER_H_
#define SCALPEL_SERVER_RPC_LARGE_ANSWER_H_

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "server/net/stall_watch.h"
#include "server/rpc/call.h"

namespace scalpel::rpc {

// Smaller ones are small change beside what gRPC keeps for a call.
inline constexpr size_t kSmallAnswerBytes = 16 << 10;

// Ends the call with OK, and counts it among its caller's until the answer has been taken; of a
// small one that is known too late for a caller who asks one thing after the other.
class LargeAnswer final : public grpc::ServerUnaryReactor {
 public:
  // `done` is called when gRPC has forgotten the call, with how it ended.
  LargeAnswer(Call call, std::shared_ptr<net::WatchedCall> watched,
              std::function<void(Call& call, const absl::Status& status)> done)
      : call_(std::move(call)), watched_(std::move(watched)), done_(std::move(done)) {
    watched_->Writes();
    Finish(grpc::Status::OK);
  }

  void OnCancel() override { cancelled_ = true; }
  void OnDone() override {
    watched_->Forget();
    done_(call_, cancelled_ ? absl::CancelledError("the call was cancelled") : absl::OkStatus());
    delete this;
  }

 private:
  Call call_;
  const std::shared_ptr<net::WatchedCall> watched_;
  const std::function<void(Call& call, const absl::Status& status)> done_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_LARGE_ANSWER_H_
