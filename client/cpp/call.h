// One call to the server: its channel, deadline, attempts and cancellation.

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

// Holds what every command needs. SIGINT cancels the call while it lives. `options` live longer.
class Call {
 public:
  explicit Call(const Options& options);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // Goes with the call, for a proxy before several servers; see affinity.h.
  void set_affinity(std::string affinity) { affinity_ = std::move(affinity); }

  // Makes the call by `attempt`, which returns its end, and makes it again where that may help.
  grpc::Status Make(absl::FunctionRef<grpc::Status(grpc::ClientContext*)> attempt);

  // The attempt under way is the last, whatever its end: what it brought cannot be taken back, or
  // its failure is the answer.
  void NoFurtherAttempt() { again_ = false; }

  // For commands that ask again and again: waits, and then gives the next call a deadline of its
  // own. False: SIGINT came first.
  bool Pause(absl::Duration pause);
  bool interrupted() const { return interrupt_.happened(); }

  // The exit code of the call's end; says on `err` why it failed.
  ExitCode End(const grpc::Status& status, std::ostream& err) const;

 private:
  void Prepare(grpc::ClientContext* context) const;
  void Cancel() ABSL_LOCKS_EXCLUDED(mutex_);

  const Options& options_;
  absl::Time deadline_;
  const std::shared_ptr<grpc::Channel> channel_;
  std::string affinity_;  // empty: none
  bool again_ = true;
  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // Of the attempt under way.
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  const Interrupt interrupt_;  // last: its thread calls Cancel
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_CALL_H_
