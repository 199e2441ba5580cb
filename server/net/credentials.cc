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

namespace scalpel::net {
namespace {

// How old what is known of the files may be when a client comes.
constexpr std::chrono::seconds kLookAgain(1);

// The certificate of the moment. Thread-safe.
class Certificates {
 public:
  // `first` is what the files held, and has been checked.
  Certificates(TlsFiles files, TlsMaterial first, TlsReloads* reloads)
      : files_(std::move(files)), reloads_(*reloads), seen_(first) {
    fresh_ = std::move(first);
  }

  // What gRPC is to use from now on, if that is something else than before.
  std::optional<TlsMaterial> Changed() {
    absl::MutexLock lock(&mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (now - looked_ >= kLookAgain) {
      looked_ = now;
      Look();
    }
    return std::exchange(fresh_, std::nullopt);
  }

 private:
  void Look() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::StatusOr<TlsMaterial> found = ReadTlsFiles(files_);
    if (found.ok() && *found == seen_) return told_.clear();
    absl::Status status = found.status();
    if (status.ok()) status = CheckTlsMaterial(*found);
    if (!status.ok()) {
      // Told once for each reason, until the files are good again.
      if (status.message() != told_) {
        told_ = std::string(status.message());
        ++reloads_.failed;
        spdlog::warn("the certificate stays as it was: {}", told_);
      }
      return;
    }
    ++reloads_.ok;
    spdlog::info("the certificate is another one now");
    for (const std::string& warning : TlsWarnings(*found)) spdlog::warn("{}", warning);
    told_.clear();
    seen_ = *found;
    fresh_ = *found;
  }

  const TlsFiles files_;
  TlsReloads& reloads_;
  absl::Mutex mutex_;
  std::chrono::steady_clock::time_point looked_ ABSL_GUARDED_BY(mutex_) =
      std::chrono::steady_clock::now();
  TlsMaterial seen_ ABSL_GUARDED_BY(mutex_);                  // in use
  std::optional<TlsMaterial> fresh_ ABSL_GUARDED_BY(mutex_);  // not yet given to gRPC
  std::string told_ ABSL_GUARDED_BY(mutex_);                  // the last warning
};

// gRPC asks when it is handed a connection, on the thread that hands it over, which is the
// acceptor's alone. It needs that: version 1.51 takes the certificate before away without a look at
// handshakes that begin with it on other threads.
grpc_ssl_certificate_config_reload_status Fetch(void* certificates,
                                                grpc_ssl_server_certificate_config** config) {
  const std::optional<TlsMaterial> changed = static_cast<Certificates*>(certificates)->Changed();
  if (!changed.has_value()) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  const grpc_ssl_pem_key_cert_pair pair = {changed->key.c_str(), changed->cert.c_str()};
  // gRPC 1.51 insists on authorities even where no client is asked for a certificate; then they
  // mean nothing.
  const std::string& authorities = changed->client_ca.empty() ? changed->cert : changed->client_ca;
  *config = grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

// TLS by gRPC's C interface, which asks for the certificate at each handshake, and keeps the one
// before if it is told nothing new.
//
// gRPC's C++ class for the purpose, experimental::FileWatcherCertificateProvider, is not used:
// version 1.51 ends the process when it reads an empty file, which is what it finds in the middle
// of a copy, and answers no handshake while key and certificate do not fit.
class TlsCredentials final : public grpc::ServerCredentials {
 public:
  TlsCredentials(const TlsFiles& files, TlsMaterial first, TlsReloads* reloads)
      : certificates_(files, std::move(first), reloads),
        credentials_(grpc_ssl_server_credentials_create_with_options(
            grpc_ssl_server_credentials_create_options_using_config_fetcher(
                files.client_ca.empty()
                    ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                    : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
                &Fetch, &certificates_))) {}
  ~TlsCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  Certificates certificates_;
  grpc_server_credentials* const credentials_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const TlsFiles& files,
                                                                         TlsReloads* reloads) {
  if (!files.any()) return grpc::InsecureServerCredentials();
  absl::StatusOr<TlsMaterial> material = ReadTlsFiles(files);
  if (!material.ok()) return material.status();
  if (absl::Status status = CheckTlsMaterial(*material); !status.ok()) return status;
  for (const std::string& warning : TlsWarnings(*material)) spdlog::warn("{}", warning);
  return std::make_shared<TlsCredentials>(files, *std::move(material), reloads);
}

std::string CertificateName(const grpc::AuthContext& context) {
  if (!context.IsPeerAuthenticated()) return "";
  const std::vector<grpc::string_ref> names =
      context.FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME);
  return names.size() == 1 ? std::string(names[0].data(), names[0].size()) : "";
}

}  // namespace scalpel::net
