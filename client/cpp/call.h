// A call to the server: its channel, deadline, attempts and cancellation.

#ifndef SCALPEL_CLIENT_CPP_CALL_H_
#define SCALPEL_CLIENT_CPP_CALL_H_

#include <memory>
#include <ostream>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/cpp/errors.h"
#include "client/cpp/interrupt.h"
#include "client/cpp/options.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"

namespace scalpel::client {

// Makes one call at a time. While the object exists, SIGINT cancels the call. Use it on one thread;
// at most one may exist at a time (see Interrupt).
class Call {
 public:
  // `options` must outlive this object.
  explicit Call(const Options& options);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // Sets the affinity to send as metadata; see affinity.h.
  void set_affinity(std::string affinity) { affinity_ = std::move(affinity); }

  // Makes the call by `attempt`, which returns its status, and repeats it as long as PauseAfter
  // says so. Returns the status of the last attempt.
  grpc::Status Make(absl::FunctionRef<grpc::Status(grpc::ClientContext*)> attempt);

  // Makes the current or next attempt the last one. To be called when output has been printed,
  // which a new attempt would repeat, or when a failure is itself the answer.
  void NoFurtherAttempt() { again_ = false; }

  // For commands that call repeatedly: waits for `pause`, and then starts a new deadline for the
  // next call. Returns false if SIGINT came first.
  bool Pause(absl::Duration pause);
  bool interrupted() const { return interrupt_.happened(); }

  // Returns the exit code for the call's status. If it failed, prints the reason to `err`.
  ExitCode End(const grpc::Status& status, std::ostream& err) const;

 private:
  void Prepare(grpc::ClientContext* context) const;
  void Cancel() ABSL_LOCKS_EXCLUDED(mutex_);

  const Options& options_;
  absl::Time deadline_;
  const std::shared_ptr<grpc::Channel> channel_;
  std::string affinity_;  // empty: not sent
  bool again_ = true;
  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // The context of the current attempt; null if there is none.
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  const Interrupt interrupt_;  // must be the last member: its thread calls Cancel
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_CALL_H_
