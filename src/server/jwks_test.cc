// Key sets in JSON: which keys of a published document are used.
#include "server/jwks.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <fstream>
#include <string>

#include "server/key_files.h"
#include "server/test_keys.h"

namespace rejoin::server {
namespace {

using namespace testing_keys;

std::string set(const std::string& keys) { return R"({"keys":[)" + keys + "]}"; }

size_t usable(const std::string& keys) {
  const Result<Jwks> read = parse_jwks(set(keys));
  EXPECT_TRUE(read.ok()) << read.error().message;
  return read.ok() ? read->keys.size() : 0;
}

TEST(JwksTest, KeysOfAllKindsVerify) {
  const Result<Jwks> read =
      parse_jwks(set(rsa_key().jwk("a") + "," + p256_key().jwk("b") + "," + ed25519_key().jwk("c")));
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_TRUE(read->refused.empty());
  EXPECT_TRUE(read->keys.verify(Algorithm::rs256, "a", "m", rsa_key().sign("m")).ok());
  EXPECT_TRUE(read->keys.verify(Algorithm::es256, "b", "m", p256_key().sign("m")).ok());
  EXPECT_TRUE(read->keys.verify(Algorithm::eddsa, "c", "m", ed25519_key().sign("m")).ok());
  EXPECT_FALSE(read->keys.verify(Algorithm::eddsa, "b", "m", ed25519_key().sign("m")).ok());
}

TEST(JwksTest, KeysForAnythingElseAreIgnored) {
  const TestKey& key = ed25519_key();
  for (const char* more : {"", R"(,"use":"sig")", R"(,"alg":"EdDSA")", R"(,"alg":"Ed25519")",
                           R"(,"key_ops":["verify"])", R"(,"use":"sig","x5c":["AAAA"],"more":{"a":1})"})
    EXPECT_EQ(usable(key.jwk("k", more)), 1u) << more;
  for (const char* more :
       {R"(,"use":"enc")", R"(,"use":"")", R"(,"use":7)", R"(,"alg":"RS256")", R"(,"alg":"none")", R"(,"alg":"HS256")",
        R"(,"alg":["EdDSA"])", R"(,"key_ops":["sign"])", R"(,"key_ops":[])", R"(,"key_ops":"verify")"})
    EXPECT_EQ(usable(key.jwk("k", more)), 0u) << more;
  for (const char* jwk : {R"({"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY","kid":"s","alg":"HS256"})",
                          R"({"kty":"EC","crv":"P-384","x":"AA","y":"AA"})", R"({"kty":"OKP","crv":"X25519","x":"AA"})",
                          R"({"kty":"future"})", R"({})", R"({"kty":7})"})
    EXPECT_EQ(usable(jwk), 0u) << jwk;
  EXPECT_EQ(usable(rsa_key().jwk("k", R"(,"alg":"RS512")")), 0u);
  EXPECT_EQ(usable(rsa_key().jwk("k", R"(,"alg":"PS256")")), 0u);
  EXPECT_EQ(usable(""), 0u);
}

TEST(JwksTest, WeakAndDamagedKeysAreNamedAndLeftOut) {
  for (const std::string& bad : {TestKey::rsa(1024).jwk("bad"), std::string(R"({"kty":"RSA","kid":"bad"})"),
                                 std::string(R"({"kty":"RSA","kid":"bad","n":"AQAB=","e":"AQAB"})"),
                                 std::string(R"({"kty":"OKP","crv":"Ed25519","kid":"bad","x":"AA"})"),
                                 std::string(R"({"kty":"EC","crv":"P-256","kid":"bad","x":"AA","y":"AA"})")}) {
    const Result<Jwks> read = parse_jwks(set(bad + "," + ed25519_key().jwk("good")));
    ASSERT_TRUE(read.ok()) << bad;
    EXPECT_EQ(read->keys.size(), 1u) << bad;
    ASSERT_EQ(read->refused.size(), 1u) << bad;
    EXPECT_NE(read->refused[0].find("'bad'"), std::string::npos) << read->refused[0];
  }
  EXPECT_EQ(parse_jwks(set(ed25519_key().jwk(std::string(300, 'k'))))->refused.size(), 1u);
}

TEST(JwksTest, WhatIsNoKeySetIsRefused) {
  for (const std::string& bad :
       {std::string(), std::string("{}"), std::string("[]"), std::string("null"), std::string(R"({"keys":{}})"),
        std::string(R"({"keys":null})"), set("7"), set("[]"), set("") + "x", std::string("<html>"),
        std::string(R"({"keys":[],"keys":[]})"), std::string(2000, '['), set(R"({"kty":"RSA","kty":"RSA"})")}) {
    const Result<Jwks> read = parse_jwks(bad);
    ASSERT_FALSE(read.ok()) << bad;
    EXPECT_EQ(read.error().code, Code::corrupt) << bad;
  }
  const std::string twice = parse_jwks(set(rsa_key().jwk("k") + "," + ed25519_key().jwk("k"))).error().message;
  EXPECT_NE(twice.find("'k'"), std::string::npos) << twice;
  std::string many;
  for (int i = 0; i < 65; ++i) many += (i ? "," : "") + ed25519_key().jwk("k" + std::to_string(i));
  EXPECT_EQ(parse_jwks(set(many)).error().code, Code::bad_argument);
  EXPECT_EQ(parse_jwks(std::string(kMostJwksBytes + 1, ' ')).error().code, Code::too_large);
  std::string values = "0";
  for (int i = 0; i < 20'000; ++i) values += ",0";
  EXPECT_EQ(parse_jwks(R"({"keys":[],"x":[)" + values + "]}").error().code, Code::too_large);
}

class KeyFileTest : public testing::Test {
 protected:
  std::string file(const std::string& text) {
    const std::string path = testing::TempDir() + "rejoin_key_file_" + std::to_string(::getpid());
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  KeySet keys;
};

TEST_F(KeyFileTest, PemAndJwksFilesAddUp) {
  ASSERT_TRUE(add_pem_file(file(rsa_key().pem()), keys).ok());
  ASSERT_TRUE(add_pem_file(file(p256_key().pem()), keys).ok());
  ASSERT_TRUE(add_jwks_file(file(set(ed25519_key().jwk("k"))), keys).ok());
  EXPECT_EQ(keys.algorithms(), "RS256, ES256, EdDSA");
}

TEST_F(KeyFileTest, BadFilesAreNamedWithTheCure) {
  EXPECT_EQ(add_pem_file("/nowhere/key.pem", keys).error().code, Code::not_found);
  EXPECT_EQ(add_jwks_file("/nowhere/keys.json", keys).error().code, Code::not_found);
  EXPECT_EQ(add_pem_file("/", keys).error().code, Code::bad_argument);
  EXPECT_EQ(add_pem_file(file(""), keys).error().code, Code::bad_argument);
  EXPECT_EQ(add_pem_file(file(std::string(1 << 20, 'x')), keys).error().code, Code::bad_argument);
  for (const std::string& bad :
       {std::string("{}"), set(""), set(TestKey::rsa(1024).jwk("k")), set(ed25519_key().jwk("k", R"(,"use":"enc")"))}) {
    const Status read = add_jwks_file(file(bad), keys);
    ASSERT_FALSE(read.ok()) << bad;
    EXPECT_EQ(read.error().code, Code::bad_argument);
    EXPECT_NE(read.error().message.find("rejoin_key_file"), std::string::npos) << read.error().message;
  }
  EXPECT_TRUE(keys.empty());
}

}  // namespace
}  // namespace rejoin::server
