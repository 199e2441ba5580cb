#include "server/net/tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string.h>
#include <unistd.h>

#include <cstddef>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace scalpel::net {
namespace {

constexpr char kCert[] = "--tls-cert";
constexpr char kKey[] = "--tls-key";
constexpr char kClientCa[] = "--tls-client-ca";
constexpr size_t kFileBytesMax = 1 << 20;

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Deleter<BIO_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Context = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;

absl::Status Wrong(absl::string_view flag, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(flag, ": ", problem));
}

// Wrong, with OpenSSL's reason appended if there is one.
absl::Status Refused(absl::string_view flag, absl::string_view problem) {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return Wrong(flag, reason == nullptr ? problem : absl::StrCat(problem, ": ", reason));
}

absl::Status ReadFile(absl::string_view flag, const std::string& path, std::string* bytes) {
  if (path.empty()) return absl::OkStatus();
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : 0;
  char block[16384];
  while (fd >= 0 && bytes->size() <= kFileBytesMax && (got = read(fd, block, sizeof block)) > 0) {
    bytes->append(block, static_cast<size_t>(got));
  }
  const int error = errno;
  if (fd >= 0) close(fd);
  if (got < 0) return Wrong(flag, absl::StrCat("cannot read ", path, ": ", strerror(error)));
  if (bytes->size() > kFileBytesMax) {
    return Wrong(flag, absl::StrCat(path, " is longer than ", kFileBytesMax, " bytes"));
  }
  return absl::OkStatus();
}

Bio Reader(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// Parses all certificates of a file, in its order.
absl::StatusOr<std::vector<Certificate>> ReadCertificates(absl::string_view flag,
                                                          const std::string& pem) {
  ERR_clear_error();
  std::vector<Certificate> found;
  const Bio reader = Reader(pem);
  while (X509* next = PEM_read_bio_X509_AUX(reader.get(), nullptr, nullptr, nullptr)) {
    found.emplace_back(next);
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!at_end) return Refused(flag, "the file has a certificate that cannot be read");
  ERR_clear_error();
  if (found.empty()) return Wrong(flag, "the file holds no certificate in PEM form");
  return found;
}

// Returns the private key in `pem`, or null if there is none that can be read without a passphrase.
// The callback keeps OpenSSL from asking for one on the terminal.
Key ReadKey(const std::string& pem) {
  const auto no_passphrase = [](char*, int, int, void*) { return -1; };
  const Bio reader = Reader(pem);
  return Key(PEM_read_bio_PrivateKey(reader.get(), nullptr, no_passphrase, nullptr));
}

void WarnOfDates(absl::string_view flag, const std::string& pem,
                 std::vector<std::string>* warnings) {
  const absl::StatusOr<std::vector<Certificate>> certificates = ReadCertificates(flag, pem);
  if (!certificates.ok()) return;
  for (const Certificate& certificate : *certificates) {
    const char* problem = nullptr;
    if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0) problem = "has expired";
    if (X509_cmp_current_time(X509_get0_notBefore(certificate.get())) > 0) {
      problem = "is not valid yet";
    }
    if (problem == nullptr) continue;
    char* name = X509_NAME_oneline(X509_get_subject_name(certificate.get()), nullptr, 0);
    warnings->push_back(
        absl::StrCat(flag, ": the certificate of ", name == nullptr ? "?" : name, " ", problem));
    OPENSSL_free(name);
  }
}

}  // namespace

absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files) {
  if (files.cert.empty()) return Wrong(kCert, "is needed for TLS");
  if (files.key.empty()) return Wrong(kKey, absl::StrCat("is needed with ", kCert));
  TlsMaterial material;
  absl::Status status = ReadFile(kCert, files.cert, &material.cert);
  if (status.ok()) status = ReadFile(kKey, files.key, &material.key);
  if (status.ok()) status = ReadFile(kClientCa, files.client_ca, &material.client_ca);
  if (!status.ok()) return status;
  if (!files.client_ca.empty() && material.client_ca.empty()) {
    return Wrong(kClientCa, "the file is empty");
  }
  return material;
}

absl::Status CheckTlsMaterial(const TlsMaterial& material) {
  const absl::StatusOr<std::vector<Certificate>> chain = ReadCertificates(kCert, material.cert);
  if (!chain.ok()) return chain.status();
  const Key key = ReadKey(material.key);
  if (key == nullptr) {
    return Refused(kKey, "the file holds no private key in PEM form without a passphrase");
  }
  if (X509_check_private_key(chain->front().get(), key.get()) != 1) {
    return Refused(kKey,
                   absl::StrCat("the key does not belong to the first certificate of ", kCert));
  }
  // gRPC loads both into a context as well; if that failed there, the server would accept no
  // connections.
  const Context context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) return Refused(kCert, "OpenSSL cannot be used");
  if (SSL_CTX_use_certificate(context.get(), chain->front().get()) != 1) {
    return Refused(kCert, "OpenSSL rejects the certificate");
  }
  if (SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
    return Refused(kKey, "OpenSSL rejects the key");
  }
  if (material.client_ca.empty()) return absl::OkStatus();
  return ReadCertificates(kClientCa, material.client_ca).status();
}

std::vector<std::string> TlsWarnings(const TlsMaterial& material) {
  std::vector<std::string> warnings;
  WarnOfDates(kCert, material.cert, &warnings);
  if (!material.client_ca.empty()) WarnOfDates(kClientCa, material.client_ca, &warnings);
  return warnings;
}

}  // namespace scalpel::net
