// For tests: a certificate of localhost and 127.0.0.1 that vouches for itself, with its key, as two files.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

namespace rejoin::net {

// A folder that goes with it.
class TestCertificate {
 public:
  explicit TestCertificate(const char* name, long valid_s = 3600) {
    char folder[] = "/tmp/rejoin-tls-XXXXXX";
    EXPECT_NE(::mkdtemp(folder), nullptr);
    folder_ = folder;
    const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
    const std::unique_ptr<X509, void (*)(X509*)> cert(X509_new(), X509_free);
    X509_set_version(cert.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert.get()), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert.get()), valid_s);
    X509_set_pubkey(cert.get(), key.get());
    X509_NAME* subject = X509_get_subject_name(cert.get());
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    X509_set_issuer_name(cert.get(), subject);
    const std::unique_ptr<X509_EXTENSION, void (*)(X509_EXTENSION*)> names(
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1"), X509_EXTENSION_free);
    X509_add_ext(cert.get(), names.get(), -1);
    EXPECT_GT(X509_sign(cert.get(), key.get(), EVP_sha256()), 0);
    write(cert_file(), [&](std::FILE* file) { return PEM_write_X509(file, cert.get()); });
    write(key_file(), [&](std::FILE* file) {
      return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
    EXPECT_EQ(::chmod(key_file().c_str(), 0600), 0);
  }
  ~TestCertificate() { std::filesystem::remove_all(folder_); }
  TestCertificate(const TestCertificate&) = delete;
  TestCertificate& operator=(const TestCertificate&) = delete;

  std::string cert_file() const { return folder_ + "/cert.pem"; }
  std::string key_file() const { return folder_ + "/key.pem"; }
  // Puts another's files in the place of these.
  void become(const TestCertificate& other) const {
    for (const char* name : {"/cert.pem", "/key.pem"})
      std::filesystem::copy_file(other.folder_ + name, folder_ + name,
                                 std::filesystem::copy_options::overwrite_existing);
  }

 private:
  template <class Write>
  static void write(const std::string& path, const Write& write) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "we"), std::fclose);
    EXPECT_TRUE(file && write(file.get()) == 1) << path;
  }

  std::string folder_;
};

}  // namespace rejoin::net
