// Tracks the calls in progress: admits them, counts them, and logs how they end.

#ifndef SCALPEL_SERVER_RPC_CALLS_H_
#define SCALPEL_SERVER_RPC_CALLS_H_

#include <grpcpp/server_context.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/access/gate.h"
#include "server/base/errors.h"
#include "server/insight/metrics.h"
#include "server/rpc/call.h"

namespace scalpel::rpc {

// Thread-safe.
class Calls {
 public:
  // `calls_max`: the limit on calls in progress. `slow`: calls that take longer are logged as a
  // warning; zero: none are. `gate` and `metrics` must outlive this object.
  Calls(int32_t calls_max, absl::Duration slow, access::Gate& gate, insight::Metrics& metrics)
      : calls_max_(calls_max), slow_(slow), gate_(gate), metrics_(metrics) {}

  // Begins a call of `method`, of contract::MethodNames. Its `admission` says whether it may go on;
  // End is due in either case. UNAUTHENTICATED, PERMISSION_DENIED and RESOURCE_EXHAUSTED as the
  // gate has them; RESOURCE_EXHAUSTED with RetryInfo where too many calls are under way.
  Call Begin(grpc::CallbackServerContext* context, absl::string_view method);
  // Releases what the call holds: its permit, and its place among the calls in progress.
  // Idempotent.
  void GiveBack(Call& call);
  // Records in logs and metrics that the call has ended with `status`, and releases what it holds.
  void End(Call& call, const absl::Status& status);

  // A method or caller without calls may be missing from a map.
  struct Counts {
    std::map<std::string, int64_t> by_method;        // calls in progress
    std::map<std::string, int64_t> by_method_ended;  // calls that ended since the start
    std::map<std::string, int64_t> by_caller;        // calls in progress
  };
  // Returns the current counts.
  Counts counts() const;

 private:
  // Asks the gate, and then checks the limit on calls in progress.
  absl::Status Admit(const grpc::CallbackServerContext& context, Call* call);

  const int32_t calls_max_;
  const absl::Duration slow_;
  access::Gate& gate_;
  insight::Metrics& metrics_;
  mutable absl::Mutex mutex_;
  int32_t under_way_ ABSL_GUARDED_BY(mutex_) = 0;  // admitted calls
  Counts counts_ ABSL_GUARDED_BY(mutex_);
};

// Returns why a call that ended with `status` was refused; nullopt if it was not refused.
std::optional<Reason> RejectionReason(const absl::Status& status);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_CALLS_H_
