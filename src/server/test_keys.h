// Keys made for a test, and tokens signed with them in any way, the wrong ones included. For tests only.
#pragma once

#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <memory>
#include <string>

#include "server/base64.h"
#include "server/key_set.h"

namespace rejoin::server::testing_keys {

inline constexpr int64_t kNow = 1'700'000'000;
inline constexpr int64_t kNowMs = kNow * 1000;

class TestKey {
 public:
  static TestKey rsa(unsigned bits = 2048) { return TestKey("RS256", EVP_RSA_gen(bits)); }
  static TestKey p256() { return TestKey("ES256", EVP_EC_gen("P-256")); }
  static TestKey ed25519() { return TestKey("EdDSA", EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")); }
  static TestKey curve(const char* name) { return TestKey("ES256", EVP_EC_gen(name)); }

  const std::string& alg() const { return alg_; }

  std::string pem() const {
    return written([&](BIO* out) { return PEM_write_bio_PUBKEY(out, key_.get()); });
  }
  std::string private_pem() const {
    return written(
        [&](BIO* out) { return PEM_write_bio_PrivateKey(out, key_.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  }
  std::string der() const {
    return written([&](BIO* out) { return i2d_PUBKEY_bio(out, key_.get()); });
  }

  // A JWK; `more` are further members with a comma in front.
  std::string jwk(const std::string& kid = "", const std::string& more = R"(,"use":"sig")") const {
    std::string out = "{";
    if (!kid.empty()) out += R"("kid":")" + kid + "\",";
    if (alg_ == "RS256")
      return out + R"("kty":"RSA","n":")" + number(OSSL_PKEY_PARAM_RSA_N) + R"(","e":")" +
             number(OSSL_PKEY_PARAM_RSA_E) + "\"" + more + "}";
    if (alg_ == "ES256")
      return out + R"("kty":"EC","crv":"P-256","x":")" + number(OSSL_PKEY_PARAM_EC_PUB_X, 32) + R"(","y":")" +
             number(OSSL_PKEY_PARAM_EC_PUB_Y, 32) + "\"" + more + "}";
    unsigned char raw[32];
    size_t size = sizeof raw;
    EXPECT_EQ(EVP_PKEY_get_raw_public_key(key_.get(), raw, &size), 1);
    return out + R"("kty":"OKP","crv":"Ed25519","x":")" + base64url({reinterpret_cast<char*>(raw), size}) + "\"" +
           more + "}";
  }

  // As OpenSSL gives it: DER for P-256.
  Bytes sign_raw(BytesView message, const EVP_MD* digest = EVP_sha256()) const {
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    const auto* data = reinterpret_cast<const unsigned char*>(message.data());
    size_t size = 0;
    EXPECT_EQ(EVP_DigestSignInit(context.get(), nullptr, alg_ == "EdDSA" ? nullptr : digest, nullptr, key_.get()), 1);
    EXPECT_EQ(EVP_DigestSign(context.get(), nullptr, &size, data, message.size()), 1);
    Bytes out(size, '\0');
    EXPECT_EQ(EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, data, message.size()),
              1);
    out.resize(size);
    return out;
  }

  // As a token carries it.
  Bytes sign(BytesView message) const {
    const Bytes raw = sign_raw(message);
    if (alg_ != "ES256") return raw;
    const auto* data = reinterpret_cast<const unsigned char*>(raw.data());
    std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(
        d2i_ECDSA_SIG(nullptr, &data, static_cast<long>(raw.size())), ECDSA_SIG_free);
    unsigned char out[64];
    EXPECT_EQ(BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), out, 32), 32);
    EXPECT_EQ(BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), out + 32, 32), 32);
    return Bytes(reinterpret_cast<char*>(out), 64);
  }

  std::string token(const std::string& payload, const std::string& kid = "") const {
    return token_with(R"({"alg":")" + alg_ + R"(","typ":"JWT")" + (kid.empty() ? "" : R"(,"kid":")" + kid + "\"") + "}",
                      payload);
  }
  std::string token_with(const std::string& header, const std::string& payload) const {
    const std::string head = base64url(header) + "." + base64url(payload);
    return head + "." + base64url(sign(head));
  }

  TokenKey verifier(const std::string& kid = "") const {
    Result<TokenKey> key = TokenKey::from_pem(pem());
    EXPECT_TRUE(key.ok()) << key.error().message;
    key->set_id(kid);
    return *key;
  }

 private:
  TestKey(std::string alg, EVP_PKEY* key) : alg_(std::move(alg)), key_(key, EVP_PKEY_free) { EXPECT_NE(key, nullptr); }

  template <class Write>
  static std::string written(Write&& write) {
    std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
    EXPECT_EQ(write(out.get()), 1);
    char* data = nullptr;
    const long size = BIO_get_mem_data(out.get(), &data);
    return std::string(data, static_cast<size_t>(size));
  }

  std::string number(const char* name, int width = 0) const {
    BIGNUM* n = nullptr;
    EXPECT_EQ(EVP_PKEY_get_bn_param(key_.get(), name, &n), 1) << name;
    Bytes out(static_cast<size_t>(width ? width : BN_num_bytes(n)), '\0');
    BN_bn2binpad(n, reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size()));
    BN_free(n);
    return base64url(out);
  }

  std::string alg_;
  std::shared_ptr<EVP_PKEY> key_;
};

// Making an RSA key takes a moment.
inline const TestKey& rsa_key() {
  static const TestKey key = TestKey::rsa();
  return key;
}
inline const TestKey& p256_key() {
  static const TestKey key = TestKey::p256();
  return key;
}
inline const TestKey& ed25519_key() {
  static const TestKey key = TestKey::ed25519();
  return key;
}

// Claims that are good; `more` are further ones with a comma in front.
inline std::string good_claims(const std::string& more = "") {
  return R"({"tenant":"acme","sub":"phone-1","exp":)" + std::to_string(kNow + 3600) + more + "}";
}

inline KeySet set_of(std::initializer_list<TokenKey> keys) {
  KeySet set;
  for (const TokenKey& key : keys) EXPECT_TRUE(set.add(key).ok());
  return set;
}

}  // namespace rejoin::server::testing_keys
