#include "tests/unit/support/identity.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <fstream>
#include <memory>

namespace scalpel::test {
namespace {

constexpr long kDay = 86'400;

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Bio Memory() { return Bio(BIO_new(BIO_s_mem()), &BIO_free); }

Bio Memory(const std::string& bytes) {
  return Bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())), &BIO_free);
}

std::string Contents(const Bio& bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return std::string(bytes, static_cast<size_t>(size));
}

void AddExtension(X509* certificate, int kind, const char* value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

Certificate Unsigned(const std::string& name, EVP_PKEY* key, int days) {
  static long serial = 0;
  Certificate made(X509_new(), &X509_free);
  X509_set_version(made.get(), 2);  // 2 means version 3
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -kDay);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), (days - 1) * kDay);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_pubkey(made.get(), key);
  return made;
}

Identity Sign(X509* certificate, EVP_PKEY* key, EVP_PKEY* by) {
  EXPECT_GT(X509_sign(certificate, by, EVP_sha256()), 0);
  const Bio cert = Memory();
  PEM_write_bio_X509(cert.get(), certificate);
  const Bio secret = Memory();
  PEM_write_bio_PrivateKey(secret.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return {Contents(cert), Contents(secret)};
}

}  // namespace

Identity MakeAuthority(const std::string& name) {
  const Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const Certificate made = Unsigned(name, key.get(), 3);
  X509_set_issuer_name(made.get(), X509_get_subject_name(made.get()));
  AddExtension(made.get(), NID_basic_constraints, "critical,CA:TRUE");
  return Sign(made.get(), key.get(), key.get());
}

Identity MakeIdentity(const std::string& name, const Identity& authority, int days) {
  const Certificate issuer(
      PEM_read_bio_X509(Memory(authority.cert).get(), nullptr, nullptr, nullptr), &X509_free);
  const Key by(PEM_read_bio_PrivateKey(Memory(authority.key).get(), nullptr, nullptr, nullptr),
               &EVP_PKEY_free);
  const Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const Certificate made = Unsigned(name, key.get(), days);
  X509_set_issuer_name(made.get(), X509_get_subject_name(issuer.get()));
  AddExtension(made.get(), NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
  return Sign(made.get(), key.get(), by.get());
}

std::string WriteFile(const std::string& name, const std::string& bytes) {
  const std::string path = testing::TempDir() + name;
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  return path;
}

}  // namespace scalpel::test
