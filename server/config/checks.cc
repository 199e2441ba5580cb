#include "server/config/checks.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace scalpel {
namespace {

absl::Status Wrong(const Config& config, absl::string_view flag, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(GivenName(config, flag), ": ", problem));
}

absl::Status CheckLimits(const Config& config) {
  const Limits& limits = config.limits;
  if (limits->max_buffered_bytes() < limits->max_response_bytes()) {
    return Wrong(config, "max-buffered-bytes",
                 absl::StrCat(limits->max_buffered_bytes(), " is less than ",
                              GivenName(config, "max-response-bytes"), ", ",
                              limits->max_response_bytes(), "; raise it or lower the other"));
  }
  // With less, one slow request keeps the others from being received.
  if (config.transport_bytes / 4 < limits->max_request_bytes()) {
    return Wrong(config, "transport-bytes",
                 absl::StrCat(config.transport_bytes, " is less than four times ",
                              GivenName(config, "max-request-bytes"), ", ",
                              limits->max_request_bytes(), "; raise it or lower the other"));
  }
  return absl::OkStatus();
}

absl::Status CheckTls(const Config& config) {
  if (config.tls_cert.empty() != config.tls_key.empty()) {
    const absl::string_view given = config.tls_cert.empty() ? "tls-key" : "tls-cert";
    const absl::string_view missing = config.tls_cert.empty() ? "tls-cert" : "tls-key";
    return Wrong(config, given, absl::StrCat("needs --", missing, " too"));
  }
  if (!config.tls_client_ca.empty() && config.tls_cert.empty()) {
    return Wrong(config, "tls-client-ca", "needs --tls-cert and --tls-key too");
  }
  return absl::OkStatus();
}

absl::Status CheckListen(const Config& config) {
  if (config.listen == config.metrics_listen && !absl::EndsWith(config.listen, ":0")) {
    return Wrong(
        config, "metrics-listen",
        absl::StrCat(config.listen, " is also the address of --listen; give another port"));
  }
  if (config.allow_insecure || IsLoopback(config.listen)) return absl::OkStatus();
  const bool encrypted = !config.tls_cert.empty();
  const bool known = !config.tokens.empty() || !config.tls_client_ca.empty();
  if (encrypted && known) return absl::OkStatus();
  return Wrong(config, "listen",
               absl::StrCat("other machines may reach ", config.listen, "; give ",
                            encrypted ? "" : "--tls-cert and --tls-key, ",
                            known ? "" : "--tokens or --tls-client-ca, ",
                            "or --allow-insecure to let all of them call"));
}

}  // namespace

absl::Status CheckConfig(const Config& config) {
  if (config.model.empty()) {
    return Wrong(config, "model", "is required; give the folder with config.json");
  }
  absl::Status status = CheckLimits(config);
  status.Update(CheckTls(config));
  status.Update(CheckListen(config));
  return status;
}

bool IsLoopback(absl::string_view address) {
  std::string host(address.substr(0, address.rfind(':')));
  if (absl::EqualsIgnoreCase(host, "localhost")) return true;
  in_addr four = {};
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  if (host.size() < 2 || host.front() != '[' || host.back() != ']') return false;
  in6_addr six = {};
  host = host.substr(1, host.size() - 2);
  return inet_pton(AF_INET6, host.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

}  // namespace scalpel
