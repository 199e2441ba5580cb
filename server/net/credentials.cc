#include "server/net/credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/support/string_ref.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/net/core_credentials.h"

namespace scalpel::net {
namespace {

// The files are read at most this often.
constexpr std::chrono::seconds kReloadInterval(1);

// Follows the certificate in the files. Thread-safe.
class Certificates {
 public:
  // `first`: the content of the files, already checked.
  Certificates(TlsFiles files, TlsMaterial first, TlsReloads* reloads)
      : files_(std::move(files)), reloads_(*reloads), current_(first) {
    pending_ = std::move(first);
  }

  // Returns the material that gRPC must use from now on, or nullopt if it has not changed since the
  // last call.
  std::optional<TlsMaterial> Changed() {
    absl::MutexLock lock(&mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (now - last_read_ >= kReloadInterval) {
      last_read_ = now;
      Reload();
    }
    return std::exchange(pending_, std::nullopt);
  }

 private:
  void Reload() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::StatusOr<TlsMaterial> found = ReadTlsFiles(files_);
    if (found.ok() && *found == current_) return last_problem_.clear();
    absl::Status status = found.status();
    if (status.ok()) status = CheckTlsMaterial(*found);
    if (!status.ok()) {
      // Each reason is logged once, until the files are valid again.
      if (status.message() != last_problem_) {
        last_problem_ = std::string(status.message());
        ++reloads_.failed;
        spdlog::warn("the changed TLS files are not used, the old certificate stays: {}",
                     last_problem_);
      }
      return;
    }
    ++reloads_.ok;
    spdlog::info("the TLS files have changed, and are used from now on");
    for (const std::string& warning : TlsWarnings(*found)) spdlog::warn("{}", warning);
    last_problem_.clear();
    current_ = *found;
    pending_ = *found;
  }

  const TlsFiles files_;
  TlsReloads& reloads_;
  absl::Mutex mutex_;
  std::chrono::steady_clock::time_point last_read_ ABSL_GUARDED_BY(mutex_) =
      std::chrono::steady_clock::now();
  TlsMaterial current_ ABSL_GUARDED_BY(mutex_);                 // the last valid content
  std::optional<TlsMaterial> pending_ ABSL_GUARDED_BY(mutex_);  // not yet passed to gRPC
  std::string last_problem_ ABSL_GUARDED_BY(mutex_);            // the last problem logged
};

// gRPC calls this when it is handed a connection, on the acceptor's thread. It must be one thread:
// gRPC 1.51 frees the previous certificate without regard to handshakes that start with it on other
// threads.
grpc_ssl_certificate_config_reload_status Fetch(void* certificates,
                                                grpc_ssl_server_certificate_config** config) {
  const std::optional<TlsMaterial> changed = static_cast<Certificates*>(certificates)->Changed();
  if (!changed.has_value()) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  const grpc_ssl_pem_key_cert_pair pair = {changed->key.c_str(), changed->cert.c_str()};
  // gRPC 1.51 requires root certificates even if clients are not asked for a certificate. They have
  // no effect then.
  const std::string& authorities = changed->client_ca.empty() ? changed->cert : changed->client_ca;
  *config = grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

// TLS through gRPC's C interface, which asks for a new certificate at each handshake: the
// credentials, and what they ask.
//
// gRPC's C++ class for this purpose, experimental::FileWatcherCertificateProvider, is not used: in
// version 1.51 it ends the process when it reads an empty file, as it may while the file is being
// copied, and it fails all handshakes while key and certificate do not match.
struct Tls {
  Tls(const TlsFiles& files, TlsMaterial first, TlsReloads* reloads)
      : certificates(files, std::move(first), reloads),
        credentials(grpc_ssl_server_credentials_create_with_options(
            grpc_ssl_server_credentials_create_options_using_config_fetcher(
                files.client_ca.empty()
                    ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                    : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
                &Fetch, &certificates))) {}

  Certificates certificates;
  CoreCredentials credentials;
};

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const TlsFiles& files,
                                                                         TlsReloads* reloads) {
  if (!files.any()) return grpc::InsecureServerCredentials();
  absl::StatusOr<TlsMaterial> material = ReadTlsFiles(files);
  if (!material.ok()) return material.status();
  if (absl::Status status = CheckTlsMaterial(*material); !status.ok()) return status;
  for (const std::string& warning : TlsWarnings(*material)) spdlog::warn("{}", warning);
  const auto tls = std::make_shared<Tls>(files, *std::move(material), reloads);
  return std::shared_ptr<grpc::ServerCredentials>(tls, &tls->credentials);
}

std::string CertificateName(const grpc::AuthContext& context) {
  if (!context.IsPeerAuthenticated()) return "";
  const std::vector<grpc::string_ref> names =
      context.FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME);
  return names.size() == 1 ? std::string(names[0].data(), names[0].size()) : "";
}

}  // namespace scalpel::net
