// The reactor of unary calls with a large answer.

#ifndef SCALPEL_SERVER_RPC_LARGE_ANSWER_H_
#define SCALPEL_SERVER_RPC_LARGE_ANSWER_H_

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "server/net/stall_watch.h"
#include "server/rpc/call.h"

namespace scalpel::rpc {

// Answers up to this size are negligible beside what gRPC allocates for every call.
inline constexpr size_t kSmallAnswerBytes = 16 << 10;

// Finishes a unary call with OK, and counts it as in progress until the client has read the answer,
// so that the memory of unread answers is bounded by the limits on calls. A small answer ends its
// call at once, because gRPC reports that it was read only after the client may have begun its next
// call. Owns itself, and is deleted in OnDone.
class LargeAnswer final : public grpc::ServerUnaryReactor {
 public:
  // `done` is called from OnDone with the call and the status that it ended with.
  LargeAnswer(Call call, std::shared_ptr<net::WatchedCall> watched,
              std::function<void(Call& call, const absl::Status& status)> done)
      : call_(std::move(call)), watched_(std::move(watched)), done_(std::move(done)) {
    watched_->WriteBegan();
    Finish(grpc::Status::OK);
  }

  void OnCancel() override { cancelled_ = true; }
  void OnDone() override {
    watched_->Forget();
    done_(call_, cancelled_ ? CancellationStatus(call_, absl::Now()) : absl::OkStatus());
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
