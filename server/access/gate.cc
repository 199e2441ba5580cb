#include "server/access/gate.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace scalpel::access {
namespace {

constexpr char kScheme[] = "Bearer ";
constexpr char kRemedy[] = "send metadata authorization: Bearer TOKEN";
constexpr char kAnonymous[] = "anonymous";

struct Caller {
  std::string name;
  Role role;
  std::string account;  // whose quota the call counts against
  QuotaLimits limits;
};

absl::StatusOr<Caller> IdentifyByToken(absl::string_view authorization, const TokenList& tokens,
                                       const QuotaLimits& per_caller, absl::Time now) {
  if (authorization.empty()) {
    return absl::UnauthenticatedError(absl::StrCat("a token is missing; ", kRemedy));
  }
  const TokenEntry* entry = nullptr;
  if (absl::StartsWithIgnoreCase(authorization, kScheme)) {
    entry = tokens.Find(absl::StripAsciiWhitespace(authorization.substr(sizeof(kScheme) - 1)));
  }
  if (entry == nullptr) {
    return absl::UnauthenticatedError(absl::StrCat("the token is not accepted; ", kRemedy));
  }
  if (entry->expires <= now) {
    return absl::UnauthenticatedError(
        absl::StrCat("the token has expired; ask for a new one and ", kRemedy));
  }
  return Caller{entry->name,
                entry->role,
                entry->name,
                {entry->calls_max.value_or(per_caller.calls_max),
                 entry->tokens_per_second_max.value_or(per_caller.tokens_per_second_max)}};
}

absl::StatusOr<Caller> Identify(const Credentials& shown, const Policy& policy, absl::Time now) {
  if (policy.client_certificates && shown.certificate.empty()) {
    return absl::UnauthenticatedError(
        "a client certificate with a common name is missing; connect with one");
  }
  if (policy.tokens != nullptr) {
    return IdentifyByToken(shown.authorization, *policy.tokens(), policy.per_caller, now);
  }
  if (!policy.client_certificates) {
    return Caller{kAnonymous, v1::ROLE_OPERATOR, std::string(shown.peer), policy.per_caller};
  }
  if (!IsCallerName(shown.certificate)) {
    return absl::UnauthenticatedError(
        absl::StrCat("the client certificate's common name is not ", kCallerNameForm));
  }
  const std::string name(shown.certificate);
  return Caller{name, v1::ROLE_RUNNER, name, policy.per_caller};
}

}  // namespace

absl::StatusOr<Permit> Gate::Enter(const Credentials& shown, absl::string_view method,
                                   absl::Time now) {
  if (shown.health_socket) {
    return absl::PermissionDeniedError("this socket answers only health checks");
  }
  absl::StatusOr<Caller> caller = Identify(shown, policy_, now);
  if (!caller.ok()) return caller.status();
  if (absl::Status status = CheckRole(caller->role, method); !status.ok()) return status;
  absl::StatusOr<Quota::Lease> lease = quota_->Enter(caller->account, caller->limits, now);
  if (!lease.ok()) return lease.status();
  return Permit(std::move(caller->name), caller->role, *std::move(lease));
}

}  // namespace scalpel::access
