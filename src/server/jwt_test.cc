// Tokens: the attacks that token verifiers have fallen for, one by one.
#include "server/jwt.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <string>

#include "server/base64.h"

namespace rejoin::server {
namespace {

const std::string kHsSecret = "0123456789abcdef0123456789abcdef";
constexpr int64_t kSecond = 1'700'000'000;
constexpr int64_t kSecondMs = kSecond * 1000;

// Signs any header and payload the way HS256 does (or with another digest).
std::string sign(const std::string& header, const std::string& payload, const std::string& secret = kHsSecret,
                 const EVP_MD* digest = EVP_sha256()) {
  const std::string head = base64url(header) + "." + base64url(payload);
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned int n = 0;
  HMAC(digest, secret.data(), static_cast<int>(secret.size()), reinterpret_cast<const unsigned char*>(head.data()),
       head.size(), mac, &n);
  return head + "." + base64url(std::string(reinterpret_cast<char*>(mac), n));
}

const std::string kHeader = R"({"alg":"HS256","typ":"JWT"})";
std::string payload(const std::string& more = "") {
  return R"({"tenant":"acme","sub":"phone-1","exp":)" + std::to_string(kSecond + 3600) + more + "}";
}

Result<Claims> verify(const std::string& token) { return verify_token(token, kHsSecret, kSecondMs); }

void expect_jwt_refused(const std::string& token, const std::string& what, const std::string& why) {
  const Result<Claims> claims = verify(token);
  ASSERT_FALSE(claims.ok()) << what;
  EXPECT_EQ(claims.error().code, Code::unauthorized) << what;
  EXPECT_NE(claims.error().message.find(why), std::string::npos) << what << ": " << claims.error().message;
}

TEST(Jwt, MintedTokensVerify) {
  const Claims claims{"acme", "phone-1", true, true, kSecond + 60};
  const Result<std::string> token = mint_token(claims, kHsSecret, kSecondMs);
  ASSERT_TRUE(token.ok()) << token.error().message;
  const Result<Claims> back = verify(*token);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(*back, claims);
}

TEST(Jwt, OtherPeoplesTokensVerify) {
  const Result<Claims> back = verify(sign(kHeader, payload(R"(,"relay":true,"unknown":{"a":[1]})")));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->tenant, "acme");
  EXPECT_EQ(back->device, "phone-1");
  EXPECT_TRUE(back->relay);
  EXPECT_FALSE(back->schema);
  EXPECT_TRUE(verify(sign(R"({"alg":"HS256"})", payload())).ok());
  EXPECT_TRUE(verify(sign(R"({"alg":"HS256","kid":"a"})", R"({"tenant":"a","device":"d","exp":1700003600.5})")).ok());
}

TEST(Jwt, AlgorithmTricks) {
  for (const char* alg : {"none", "None", "nOnE", "", "HS384", "HS512", "RS256", "ES256", "hs256", "HS256 "}) {
    const std::string header = std::string(R"({"alg":")") + alg + R"("})";
    expect_jwt_refused(sign(header, payload()), alg, "HS256");
    expect_jwt_refused(base64url(header) + "." + base64url(payload()) + ".", alg, "HS256");
  }
  expect_jwt_refused(sign("{}", payload()), "no alg", "HS256");
  expect_jwt_refused(sign(R"({"alg":["HS256"]})", payload()), "alg is an array", "HS256");
  expect_jwt_refused(sign(R"({"alg":"none","alg":"HS256"})", payload()), "alg twice", "header");
  expect_jwt_refused(sign(R"({"alg":"HS256","crit":["b64"],"b64":false})", payload()), "crit", "extensions");
  expect_jwt_refused(sign(R"({"alg":"HS256","typ":"JWE"})", payload()), "typ", "JWT");
  expect_jwt_refused(sign(kHeader, payload(), kHsSecret, EVP_sha512()), "HMAC-SHA-512 under an HS256 header",
                     "does not verify");
}

TEST(Jwt, EverySingleCharacterChangeIsRefused) {
  const std::string token = sign(kHeader, payload());
  ASSERT_TRUE(verify(token).ok());
  for (size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(verify(changed).ok()) << "at " << i;
    EXPECT_FALSE(verify(token.substr(0, i)).ok()) << "cut at " << i;
  }
}

TEST(Jwt, SignatureTricks) {
  const std::string token = sign(kHeader, payload());
  const std::string unsigned_part = token.substr(0, token.rfind('.'));
  expect_jwt_refused(unsigned_part + ".", "empty signature", "does not verify");
  expect_jwt_refused(token.substr(0, token.size() - 4), "shorter signature", "");
  expect_jwt_refused(token + "AAAA", "longer signature", "does not verify");
  expect_jwt_refused(sign(kHeader, payload(), "another secret of thirty-two bytes!!"), "another secret",
                     "does not verify");
  // The last character of a 32-byte signature carries two unused bits: a verifier that ignores them accepts four
  // spellings.
  std::string respelled = token;
  respelled.back() = static_cast<char>(respelled.back() + 1);
  EXPECT_FALSE(verify(respelled).ok());
}

TEST(Jwt, ShapeTricks) {
  const std::string token = sign(kHeader, payload());
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), std::string("..."), token + ".", "." + token,
        token + "." + token, token + "=", " " + token, token + "\n", std::string("\0", 1) + token}) {
    const Result<Claims> claims = verify(bad);
    ASSERT_FALSE(claims.ok()) << bad;
    EXPECT_EQ(claims.error().code, Code::unauthorized);
  }
  expect_jwt_refused(std::string(kMostTokenBytes + 1, 'a'), "oversized", "too long");
  expect_jwt_refused(sign(kHeader, payload(R"(,"x":")" + std::string(kMostTokenBytes, 'x') + "\"")),
                     "oversized but signed", "too long");
  expect_jwt_refused(sign("[]", payload()), "header is an array", "header");
  expect_jwt_refused(sign(kHeader, "[]"), "claims are an array", "claims");
  expect_jwt_refused(sign(kHeader, payload() + "x"), "something behind", "claims");
  expect_jwt_refused(sign(kHeader, ""), "no claims", "claims");
  expect_jwt_refused(sign(kHeader, "{\"tenant\":\"\xff\"}"), "not UTF-8", "claims");
  expect_jwt_refused(sign(kHeader, std::string(2000, '[')), "deeply nested", "claims");
}

TEST(Jwt, ClaimTricks) {
  const std::string exp = ",\"exp\":" + std::to_string(kSecond + 3600);
  expect_jwt_refused(sign(kHeader, R"({"tenant":"acme","sub":"d"})"), "no exp", "expiry");
  expect_jwt_refused(sign(kHeader, R"({"tenant":"acme","sub":"d","exp":"1700003600"})"), "exp is text", "time");
  expect_jwt_refused(sign(kHeader, R"({"tenant":"acme","sub":"d","exp":null})"), "exp is null", "time");
  expect_jwt_refused(sign(kHeader, R"({"tenant":"acme","sub":"d","exp":-1})"), "exp is negative", "time");
  expect_jwt_refused(sign(kHeader, R"({"tenant":"acme","sub":"d","exp":1e300})"), "exp is huge", "time");
  expect_jwt_refused(sign(kHeader, R"({"tenant":"acme","sub":"d","exp":9223372036854775807})"), "exp is INT64_MAX",
                     "time");
  expect_jwt_refused(sign(kHeader, R"({"tenant":"acme","sub":"d","exp":1})"), "expired", "expired");
  expect_jwt_refused(sign(kHeader, R"({"tenant":"acme","sub":"d","exp":1,"exp":1700003600})"), "exp twice", "claims");
  expect_jwt_refused(sign(kHeader, R"({"tenant":"acme","tenant":"rival","sub":"d")" + exp + "}"), "tenant twice",
                     "claims");
  expect_jwt_refused(sign(kHeader, R"({"sub":"d")" + exp + "}"), "no tenant", "tenant");
  expect_jwt_refused(sign(kHeader, R"({"tenant":"acme")" + exp + "}"), "no device", "device");
  expect_jwt_refused(sign(kHeader, R"({"tenant":"","sub":"d")" + exp + "}"), "empty tenant", "name");
  expect_jwt_refused(sign(kHeader, R"({"tenant":7,"sub":"d")" + exp + "}"), "tenant is a number", "type");
  expect_jwt_refused(sign(kHeader, R"({"tenant":"a","sub":"d\u0000e")" + exp + "}"), "NUL in the device", "name");
  expect_jwt_refused(sign(kHeader, R"({"tenant":"a","sub":"d","device":"e")" + exp + "}"), "two devices",
                     "two devices");
  expect_jwt_refused(sign(kHeader, payload(R"(,"relay":1)")), "relay is a number", "type");
  expect_jwt_refused(sign(kHeader, payload(R"(,"schema":"true")")), "schema is text", "type");
  expect_jwt_refused(sign(kHeader, payload(",\"nbf\":" + std::to_string(kSecond + 61))), "not yet", "not valid yet");
  expect_jwt_refused(sign(kHeader, payload(",\"iat\":" + std::to_string(kSecond + 61))), "issued in the future",
                     "not valid yet");
}

TEST(Jwt, SmallClockDifferencesAreForgiven) {
  EXPECT_TRUE(verify(sign(kHeader, payload(",\"nbf\":" + std::to_string(kSecond + 60)))).ok());
  EXPECT_TRUE(verify(sign(kHeader, R"({"tenant":"a","sub":"d","exp":)" + std::to_string(kSecond - 60) + "}")).ok());
  EXPECT_FALSE(verify(sign(kHeader, R"({"tenant":"a","sub":"d","exp":)" + std::to_string(kSecond - 61) + "}")).ok());
}

TEST(Jwt, ShortSecretsVerifyNothing) {
  EXPECT_FALSE(verify_token(sign(kHeader, payload(), ""), "", kSecondMs).ok());
  EXPECT_FALSE(verify_token(sign(kHeader, payload(), "short"), "short", kSecondMs).ok());
  EXPECT_EQ(mint_token({"a", "d", false, false, kSecond + 9}, "short", kSecondMs).error().code, Code::bad_argument);
}

TEST(Jwt, MintRefusesNonsense) {
  EXPECT_FALSE(mint_token({"", "d", false, false, kSecond + 9}, kHsSecret, kSecondMs).ok());
  EXPECT_FALSE(mint_token({"a", "", false, false, kSecond + 9}, kHsSecret, kSecondMs).ok());
  EXPECT_FALSE(mint_token({"a", "d", false, false, kSecond - 9}, kHsSecret, kSecondMs).ok());
  EXPECT_FALSE(mint_token({std::string(65, 'a'), "d", false, false, kSecond + 9}, kHsSecret, kSecondMs)
                   .ok());  // no server takes it
  EXPECT_FALSE(mint_token({std::string(1000, 'a'), "d", false, false, kSecond + 9}, kHsSecret, kSecondMs).ok());
}

TEST(Base64, IsStrict) {
  for (const std::string& bytes :
       {std::string(), std::string("f"), std::string("fo"), std::string("foo"), std::string("\0\xff\xfe", 3)}) {
    EXPECT_EQ(from_base64(base64(bytes)), bytes);
    EXPECT_EQ(from_base64url(base64url(bytes)), bytes);
  }
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64url("fo"), "Zm8");
  for (const char* bad : {"Zm8", "Zm9=", "Zm8==", "Z===", "====", "Zm8 ", "Zm-=", "Zg=a"})
    EXPECT_FALSE(from_base64(bad)) << bad;
  for (const char* bad : {"Zm8=", "Zm9", "Z", "Zm+8"}) EXPECT_FALSE(from_base64url(bad)) << bad;
}

}  // namespace
}  // namespace rejoin::server
