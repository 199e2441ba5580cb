// The calls under way: which may begin, what each comes to, and where that is written.

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
  // `gate` and `metrics` outlive this object. `slow`: a call that took longer is worth a warning;
  // zero: none is.
  Calls(int32_t calls_max, absl::Duration slow, access::Gate& gate, insight::Metrics& metrics)
      : calls_max_(calls_max), slow_(slow), gate_(gate), metrics_(metrics) {}

  // Begins a call of `method`, of contract::MethodNames. Its `admission` says whether it may go on;
  // End is due in either case. UNAUTHENTICATED, PERMISSION_DENIED and RESOURCE_EXHAUSTED as the
  // gate has them; RESOURCE_EXHAUSTED with RetryInfo where too many calls are under way.
  Call Begin(grpc::CallbackServerContext* context, absl::string_view method);
  // Gives back what the call held: its caller's share, and its place among those under way. Only
  // the first of several counts.
  void GiveBack(Call& call);
  // The call has ended so: writes it down, and gives back what it held.
  void End(Call& call, const absl::Status& status);

  struct Counts {
    std::map<std::string, int64_t> by_method;  // under way, of all methods
    std::map<std::string, int64_t> by_method_ended;
    std::map<std::string, int64_t> by_caller;  // under way
  };
  Counts counts() const;

 private:
  // What the gate says, and then the bound on all calls together.
  absl::Status Admit(const grpc::CallbackServerContext& context, Call* call);

  const int32_t calls_max_;
  const absl::Duration slow_;
  access::Gate& gate_;
  insight::Metrics& metrics_;
  mutable absl::Mutex mutex_;
  int32_t under_way_ ABSL_GUARDED_BY(mutex_) = 0;  // admitted calls
  Counts counts_ ABSL_GUARDED_BY(mutex_);
};

// Why a call that ended with `status` was refused; nullopt: it was not.
std::optional<Reason> RejectionReason(const absl::Status& status);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_CALLS_H_
