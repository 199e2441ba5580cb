#include "client/cpp/errors.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "client/cpp/text.h"
#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"

namespace scalpel::client {
namespace {

// One detail, in lines of its own; a kind that is not known is left out.
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

void PrintError(std::ostream& err, const grpc::Status& status, absl::string_view server) {
  err << "scalpel-cli: " << CodeName(status.error_code()) << ": "
      << Printable(status.error_message()) << "\n";
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) PrintDetail(err, detail);
  }
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    err << "  is a server ready at " << Printable(server) << "? --server names another\n";
  }
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    err << "  --deadline allows more time\n";
  }
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
