// Keys: which are taken, for what, and which are refused.
#include "server/token_key.h"

#include <gtest/gtest.h>

#include <string>

#include "server/key_set.h"
#include "server/test_keys.h"

namespace rejoin::server {
namespace {

using namespace testing_keys;

void expect_bad(const Result<TokenKey>& key, const std::string& why) {
  ASSERT_FALSE(key.ok()) << why;
  EXPECT_EQ(key.error().code, Code::bad_argument);
  EXPECT_NE(key.error().message.find(why), std::string::npos) << key.error().message;
}

TEST(TokenKey, ThePemKeysKindDecidesTheAlgorithm) {
  EXPECT_EQ(rsa_key().verifier().algorithm(), Algorithm::rs256);
  EXPECT_EQ(p256_key().verifier().algorithm(), Algorithm::es256);
  EXPECT_EQ(ed25519_key().verifier().algorithm(), Algorithm::eddsa);
  for (const TestKey* key : {&rsa_key(), &p256_key(), &ed25519_key()}) {
    EXPECT_EQ(algorithm_name(key->verifier().algorithm()), key->alg());
    EXPECT_TRUE(key->verifier().verifies("message", key->sign("message"))) << key->alg();
    EXPECT_FALSE(key->verifier().verifies("massage", key->sign("message"))) << key->alg();
    EXPECT_FALSE(key->verifier().verifies("message", "")) << key->alg();
    EXPECT_FALSE(key->verifier().verifies("message", key->sign("message") + '\0')) << key->alg();
  }
}

TEST(TokenKey, WeakAndForeignKeysAreRefused) {
  expect_bad(TokenKey::from_pem(TestKey::rsa(1024).pem()), "1024 bits");
  expect_bad(TokenKey::from_pem(TestKey::rsa(2040).pem()), "2040 bits");
  expect_bad(TokenKey::from_pem(TestKey::curve("P-384").pem()), "P-256");
  expect_bad(TokenKey::from_pem(TestKey::curve("secp256k1").pem()), "P-256");
  for (const char* kind : {"ED448", "X25519"}) {
    EVP_PKEY* raw = EVP_PKEY_Q_keygen(nullptr, nullptr, kind);
    std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
    PEM_write_bio_PUBKEY(out.get(), raw);
    EVP_PKEY_free(raw);
    char* data = nullptr;
    const long size = BIO_get_mem_data(out.get(), &data);
    expect_bad(TokenKey::from_pem(std::string(data, static_cast<size_t>(size))), "kind");
  }
  expect_bad(TokenKey::secret("short"), "at least 32");
}

TEST(TokenKey, WhatIsNoPublicKeyIsRefusedWithTheCure) {
  expect_bad(TokenKey::from_pem(""), "PEM");
  expect_bad(TokenKey::from_pem(rsa_key().der()), "PEM");
  expect_bad(TokenKey::from_pem(rsa_key().private_pem()), "-pubout");
  expect_bad(TokenKey::from_pem(p256_key().private_pem()), "-pubout");
  expect_bad(TokenKey::from_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "-pubkey");
  expect_bad(TokenKey::from_pem(rsa_key().pem() + p256_key().pem()), "more than one");
  const std::string pem = rsa_key().pem();
  expect_bad(TokenKey::from_pem(pem.substr(0, pem.size() / 2)), "");
  expect_bad(TokenKey::from_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "");
  expect_bad(TokenKey::from_pem("-----BEGIN "), "");
}

TEST(TokenKey, NumbersThatMakeNoKeyAreRefused) {
  const Bytes one(32, '\x01');
  expect_bad(TokenKey::p256(one, one), "");  // not a point of the curve
  expect_bad(TokenKey::p256(Bytes(32, '\0'), Bytes(32, '\0')), "");
  expect_bad(TokenKey::p256(Bytes(31, '\x01'), one), "32 bytes");
  expect_bad(TokenKey::p256(one, Bytes(33, '\x01')), "32 bytes");
  expect_bad(TokenKey::ed25519(Bytes(31, '\x01')), "32 bytes");
  expect_bad(TokenKey::ed25519(""), "32 bytes");
  // A signature of zeros verifies every other message under the first of these.
  for (const char* small : {"0000000000000000000000000000000000000000000000000000000000000000",
                            "0000000000000000000000000000000000000000000000000000000000000080",
                            "0100000000000000000000000000000000000000000000000000000000000000",
                            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
                            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"})
    expect_bad(TokenKey::ed25519(*from_hex(small)), "anyone");
  Bytes modulus(256, '\xff');
  expect_bad(TokenKey::rsa(modulus, ""), "exponent");
  expect_bad(TokenKey::rsa(modulus, "\x01"), "exponent");
  expect_bad(TokenKey::rsa(modulus, "\x02"), "exponent");
  expect_bad(TokenKey::rsa(modulus, Bytes(200, '\x03')), "exponent");
  modulus.back() = '\0';
  expect_bad(TokenKey::rsa(modulus, "\x01\x02\x01"), "");  // even
  expect_bad(TokenKey::rsa("", "\x03"), "");
  expect_bad(TokenKey::rsa(Bytes(1 << 20, '\xff'), "\x03"), "8192");
  expect_bad(TokenKey::rsa(Bytes(1025, '\xff'), "\x03"), "8192");
}

TEST(KeySet, AnIdMeansOneKey) {
  KeySet set = set_of({rsa_key().verifier("a"), p256_key().verifier("b"), ed25519_key().verifier()});
  EXPECT_EQ(set.algorithms(), "RS256, ES256, EdDSA");
  EXPECT_EQ(set.add(ed25519_key().verifier("a")).error().code, Code::bad_argument);
  EXPECT_TRUE(set.add(rsa_key().verifier()).ok());  // keys without an id are told apart by trying
  KeySet all;
  EXPECT_TRUE(all.add(set).ok());
  EXPECT_FALSE(all.add(set).ok());
  EXPECT_EQ(KeySet().verify(Algorithm::hs256, "", "m", "s").error().code, Code::unauthorized);
}

TEST(KeySet, StrangersCannotMakeItTryManyKeys) {
  KeySet set;
  const TestKey& key = ed25519_key();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(set.add(key.verifier("k" + std::to_string(i))).ok());
  EXPECT_TRUE(set.verify(Algorithm::eddsa, "", "m", key.sign("m")).ok());
  ASSERT_TRUE(set.add(key.verifier("k8")).ok());
  EXPECT_NE(set.verify(Algorithm::eddsa, "", "m", key.sign("m")).error().message.find("kid"), std::string::npos);
  EXPECT_TRUE(set.verify(Algorithm::eddsa, "k8", "m", key.sign("m")).ok());
  for (size_t i = set.size(); i < KeySet::kMost; ++i) ASSERT_TRUE(set.add(key.verifier("k" + std::to_string(i))).ok());
  EXPECT_FALSE(set.add(key.verifier("one-more")).ok());
}

}  // namespace
}  // namespace rejoin::server
