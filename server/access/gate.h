// Decides whether a caller may call a method.

#ifndef SCALPEL_SERVER_ACCESS_GATE_H_
#define SCALPEL_SERVER_ACCESS_GATE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/access/quota.h"
#include "server/access/role.h"
#include "server/access/token_list.h"

namespace scalpel::access {

// How a caller identifies itself. The strings must stay valid while the gate is asked.
struct Credentials {
  absl::string_view authorization = {};  // the value of that metadata key; empty: none
  absl::string_view certificate = {};    // the common name of a verified client certificate
  absl::string_view peer = {};           // the caller's host, without the port
  bool health_socket = false;            // the call came through the socket for health checks
};

// Permission for one call, which counts as in progress until the permit is destroyed. Movable, not
// copyable. May outlive its gate. Not thread-safe, but each thread may use a permit of its own.
class Permit {
 public:
  // Returns the caller's name, for logs. It satisfies IsCallerName.
  const std::string& name() const { return name_; }
  Role role() const { return role_; }

  // Charges the caller for model tokens, all of them or none. RESOURCE_EXHAUSTED with RetryInfo:
  // the caller has exceeded its rate.
  absl::Status Charge(int64_t tokens, absl::Time now) { return lease_.Charge(tokens, now); }
  // Returns charged tokens that will not be used.
  void Refund(int64_t tokens, absl::Time now) { lease_.Refund(tokens, now); }

 private:
  friend class Gate;
  Permit(std::string name, Role role, Quota::Lease lease)
      : name_(std::move(name)), role_(role), lease_(std::move(lease)) {}

  std::string name_;
  Role role_;
  Quota::Lease lease_;
};

// What the gate requires of callers.
struct Policy {
  // Returns the current tokens. Must be thread-safe. If null, callers need no token.
  std::function<std::shared_ptr<const TokenList>()> tokens = nullptr;
  // Whether callers need a client certificate.
  bool client_certificates = false;
  // The limits of a caller whose token sets none.
  QuotaLimits per_caller = {};
};

// Authenticates callers, checks their roles, and enforces their quotas.
//
// If tokens are required, with or without certificates, the token gives the caller's name and role.
// If only certificates are required, the caller has the name in its certificate and is a runner.
// If neither is required, every caller is called `anonymous`, is an operator, and has the quota of
// its host. Thread-safe.
class Gate {
 public:
  explicit Gate(Policy policy) : policy_(std::move(policy)) {}

  // Begins a call of `method`, named as in LeastRole. UNAUTHENTICATED: the token or certificate is
  // missing, unknown or expired. PERMISSION_DENIED: the caller's role does not allow the method, or
  // the call came through the health socket. RESOURCE_EXHAUSTED with RetryInfo: the caller has too
  // many calls in progress.
  absl::StatusOr<Permit> Enter(const Credentials& shown, absl::string_view method, absl::Time now);

 private:
  const Policy policy_;
  const std::shared_ptr<Quota> quota_ = std::make_shared<Quota>();
};

}  // namespace scalpel::access

#endif  // SCALPEL_SERVER_ACCESS_GATE_H_
