#include "client/cpp/errors.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "client/cpp/text.h"
#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"

namespace scalpel::client {
namespace {

// Prints one detail on its own lines. Unknown types are skipped.
void PrintDetail(std::ostream& err, const google::protobuf::Any& detail) {
  if (google::rpc::BadRequest bad; detail.UnpackTo(&bad)) {
    for (const auto& violation : bad.field_violations()) {
      err << "  " << Printable(violation.field()) << ": " << Printable(violation.description())
          << "\n";
    }
  } else if (google::rpc::QuotaFailure quota; detail.UnpackTo(&quota)) {
    for (const auto& violation : quota.violations()) {
      err << "  " << Printable(violation.subject()) << ": " << Printable(violation.description())
          << "\n";
    }
  } else if (google::rpc::RetryInfo retry; detail.UnpackTo(&retry)) {
    const double seconds = retry.retry_delay().seconds() + retry.retry_delay().nanos() * 1e-9;
    err << "  try again after " << Number(seconds) << " s\n";
  } else if (google::rpc::RequestInfo info; detail.UnpackTo(&info)) {
    err << "  request id " << Printable(info.request_id()) << "\n";
  }
}

// Prints on its own lines what the user can do.
void PrintRemedy(std::ostream& err, grpc::StatusCode code, const Options& options) {
  const Security& security = options.security;
  switch (code) {
    case grpc::StatusCode::UNAVAILABLE:
      err << "  is a server ready at " << Printable(options.server) << "? --server names another\n"
          << (security.tls
                  ? "  --ca sets the trusted CAs, --server-name the name in the certificate\n"
                  : "  a secured server needs --tls\n");
      break;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      err << "  --deadline allows more time\n";
      break;
    case grpc::StatusCode::UNAUTHENTICATED:
      err << (security.token.empty()
                  ? "  give a token by --token-file or $SCALPEL_TOKEN, or --cert and --key\n"
                  : "  the token is wrong or has expired; ask the operator of the server for a new "
                    "one\n");
      break;
    case grpc::StatusCode::PERMISSION_DENIED:
      err << "  ask the operator of the server for a role that may\n";
      break;
    default:
      break;
  }
}

}  // namespace

ExitCode ExitCodeOf(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return kDone;
    case grpc::StatusCode::UNAVAILABLE:
      return kNoServer;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return kDeadline;
    default:
      return kFailed;
  }
}

void PrintError(std::ostream& err, const grpc::Status& status, const Options& options) {
  err << "scalpel-cli: " << CodeName(status.error_code()) << ": "
      << Printable(status.error_message()) << "\n";
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) PrintDetail(err, detail);
  }
  PrintRemedy(err, status.error_code(), options);
}

std::string CodeName(grpc::StatusCode code) {
  constexpr const char* kNames[] = {"OK",
                                    "CANCELLED",
                                    "UNKNOWN",
                                    "INVALID_ARGUMENT",
                                    "DEADLINE_EXCEEDED",
                                    "NOT_FOUND",
                                    "ALREADY_EXISTS",
                                    "PERMISSION_DENIED",
                                    "RESOURCE_EXHAUSTED",
                                    "FAILED_PRECONDITION",
                                    "ABORTED",
                                    "OUT_OF_RANGE",
                                    "UNIMPLEMENTED",
                                    "INTERNAL",
                                    "UNAVAILABLE",
                                    "DATA_LOSS",
                                    "UNAUTHENTICATED"};
  const int number = code;
  return number >= 0 && number < static_cast<int>(std::size(kNames))
             ? kNames[number]
             : absl::StrCat("code ", number);
}

}  // namespace scalpel::client
