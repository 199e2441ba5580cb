// May this caller call this method now?

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

// What a caller shows.
struct Credentials {
  absl::string_view authorization = {};  // the metadata of that name, whole; empty: none
  absl::string_view certificate = {};  // the common name of a client certificate that was verified
  absl::string_view peer = {};         // the host that it calls from, without the port
  bool health_socket = false;          // it came by the socket that is there for health checks
};

// That a call is allowed, and has begun; it has ended when this is destroyed. Movable, not
// copyable. May outlive its gate.
class Permit {
 public:
  // Who calls, for logs: of the characters of IsCallerName.
  const std::string& name() const { return name_; }
  Role role() const { return role_; }

  // Spends tokens of the caller, all of them or none. RESOURCE_EXHAUSTED with RetryInfo: it has
  // used more than its rate.
  absl::Status Charge(int64_t tokens, absl::Time now) { return lease_.Charge(tokens, now); }
  // Gives back what was charged and will not be used.
  void Refund(int64_t tokens, absl::Time now) { lease_.Refund(tokens, now); }

 private:
  friend class Gate;
  Permit(std::string name, Role role, Quota::Lease lease)
      : name_(std::move(name)), role_(role), lease_(std::move(lease)) {}

  std::string name_;
  Role role_;
  Quota::Lease lease_;
};

struct Policy {
  // Gives the tokens in force; null: callers need none.
  std::function<std::shared_ptr<const TokenList>()> tokens = nullptr;
  bool client_certificates = false;  // callers need one
  // Of a caller whose token does not say otherwise.
  QuotaLimits per_caller = {};
};

// Where both are needed, the token names the caller. With certificates alone, a caller goes by its
// certificate's common name and is a runner. With neither, everybody is `anonymous` and an
// operator, with limits by host. Thread-safe.
class Gate {
 public:
  explicit Gate(Policy policy) : policy_(std::move(policy)) {}

  // `method`: as LeastRole takes it. UNAUTHENTICATED: a token or certificate is missing, not
  // accepted or expired. PERMISSION_DENIED: not its role, or the wrong socket. RESOURCE_EXHAUSTED
  // with RetryInfo: too many calls at once.
  absl::StatusOr<Permit> Enter(const Credentials& shown, absl::string_view method, absl::Time now);

 private:
  const Policy policy_;
  const std::shared_ptr<Quota> quota_ = std::make_shared<Quota>();
};

}  // namespace scalpel::access

#endif  // SCALPEL_SERVER_ACCESS_GATE_H_
