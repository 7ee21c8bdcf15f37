// Attacks on verifiers that know several keys, one by one (RFC 8725 has most of them). Those on one secret are in
// jwt_test.cc.
#include <gtest/gtest.h>

#include <string>

#include "server/jwt.h"
#include "server/test_keys.h"

namespace rejoin::server {
namespace {

using namespace testing_keys;

const std::string kServerSecret = "0123456789abcdef0123456789abcdef";

Result<Claims> verify(const std::string& token, const KeySet& keys, const ClaimRules& rules = {}) {
  REJOIN_ASSIGN(const SplitToken split, split_token(token));
  return verify_token(split, keys, rules, kNowMs);
}

// One key of every kind, each with an id.
const KeySet& all_keys() {
  static const KeySet keys = [] {
    KeySet set = set_of({rsa_key().verifier("rsa"), p256_key().verifier("ec"), ed25519_key().verifier("ed")});
    TokenKey secret = *TokenKey::secret(kServerSecret);
    secret.set_id("secret");
    EXPECT_TRUE(set.add(std::move(secret)).ok());
    return set;
  }();
  return keys;
}

void expect_attack_refused(const std::string& token, const std::string& what, const std::string& why = "",
                           const KeySet& keys = all_keys()) {
  const Result<Claims> claims = verify(token, keys);
  ASSERT_FALSE(claims.ok()) << what;
  EXPECT_EQ(claims.error().code, Code::unauthorized) << what;
  EXPECT_NE(claims.error().message.find(why), std::string::npos) << what << ": " << claims.error().message;
}

std::string header(const std::string& alg, const std::string& more = "") {
  return R"({"alg":")" + alg + R"(","typ":"JWT")" + more + "}";
}
std::string named(const std::string& kid) { return R"(,"kid":")" + kid + "\""; }

std::string hmac_token(const std::string& secret, const std::string& head, const std::string& payload) {
  const std::string part = base64url(head) + "." + base64url(payload);
  return part + "." + base64url(hmac_sha256(secret, part));
}

struct Kind {
  const char* name;
  const char* kid;
  const TestKey& key;
};
const Kind kKinds[] = {{"RS256", "rsa", rsa_key()}, {"ES256", "ec", p256_key()}, {"EdDSA", "ed", ed25519_key()}};

TEST(TokenAttacks, GoodTokensOfEveryKindVerify) {
  for (const Kind& kind : kKinds)
    for (const std::string& kid : {std::string(), std::string(kind.kid)}) {
      const Result<Claims> claims = verify(kind.key.token(good_claims(R"(,"role":"writer")"), kid), all_keys());
      ASSERT_TRUE(claims.ok()) << kind.name << ": " << claims.error().message;
      EXPECT_EQ(claims->tenant, "acme");
      EXPECT_EQ(claims->role, "writer");
      EXPECT_EQ(claims->json, good_claims(R"(,"role":"writer")"));
    }
  EXPECT_TRUE(verify(hmac_token(kServerSecret, header("HS256", named("secret")), good_claims()), all_keys()).ok());
}

TEST(TokenAttacks, NoneIsNoAlgorithm) {
  for (const char* alg : {"none", "None", "NONE", "nOnE", "", "rs256", "es256", "EDDSA", "Ed25519", "RS512", "PS256",
                          "ES384", "ES256K", "HS384", "RS256 ", "RS256\\u0000"})
    for (const std::string& kid : {std::string(), named("rsa"), named("ec"), named("ed"), named("secret")}) {
      const std::string part = base64url(header(alg, kid)) + "." + base64url(good_claims());
      expect_attack_refused(part + ".", alg);
      expect_attack_refused(part + "." + base64url("x"), alg);
      for (const Kind& kind : kKinds)
        expect_attack_refused(part + "." + base64url(kind.key.sign(part)), alg, "accepted here");
    }
  expect_attack_refused(rsa_key().token_with(R"({"typ":"JWT"})", good_claims()), "no alg", "accepted here");
  expect_attack_refused(rsa_key().token_with(R"({"alg":null})", good_claims()), "alg null", "accepted here");
  expect_attack_refused(rsa_key().token_with(R"({"alg":["RS256"]})", good_claims()), "alg in an array",
                        "accepted here");
}

// The public key is public: whoever has a verifier that takes it for an HMAC secret can sign anything.
TEST(TokenAttacks, APublicKeyIsNoSecret) {
  const KeySet without_secret =
      set_of({rsa_key().verifier("rsa"), p256_key().verifier("ec"), ed25519_key().verifier("ed")});
  for (const Kind& kind : kKinds) {
    const std::string pem = kind.key.pem();
    for (const std::string& secret : {pem, pem.substr(0, pem.size() - 1), kind.key.der(), kind.key.jwk(kind.kid)})
      for (const std::string& kid : {std::string(), named(kind.kid)}) {
        const std::string token = hmac_token(secret, header("HS256", kid), good_claims());
        expect_attack_refused(token, kind.name);
        expect_attack_refused(token, kind.name, kid.empty() ? "are for RS256" : "not what the key it names",
                              without_secret);
      }
  }
}

TEST(TokenAttacks, NoKeyServesAnotherAlgorithm) {
  for (const Kind& signer : kKinds)
    for (const Kind& claimed : kKinds) {
      if (&signer == &claimed) continue;
      for (const std::string& kid : {std::string(), named(signer.kid), named(claimed.kid)})
        expect_attack_refused(signer.key.token_with(header(claimed.name, kid), good_claims()),
                              std::string(signer.name) + " as " + claimed.name);
      // The header is right, but names a key of another algorithm.
      expect_attack_refused(signer.key.token(good_claims(), claimed.kid), std::string("kid of ") + claimed.name,
                            "not what the key it names");
    }
  expect_attack_refused(hmac_token(kServerSecret, header("HS256", named("rsa")), good_claims()),
                        "HS256 with a public key's id", "not what the key it names");
  // The right algorithm, another key.
  expect_attack_refused(TestKey::p256().token(good_claims(), "ec"), "a stranger's P-256 key", "does not verify");
  expect_attack_refused(TestKey::ed25519().token(good_claims(), "ed"), "a stranger's Ed25519 key", "does not verify");
  expect_attack_refused(TestKey::rsa().token(good_claims(), "rsa"), "a stranger's RSA key", "does not verify");
}

TEST(TokenAttacks, AKeyIdIsOnlyCompared) {
  for (const std::string& kid :
       {std::string("../../../../dev/null"), std::string("/etc/passwd"), std::string("' OR '1'='1"),
        std::string("rsa' UNION SELECT 'x"), std::string("rsa\\u0000"), std::string("RSA"), std::string("rs"),
        std::string("rsa "), std::string("http://evil.example/jwks.json"), std::string("$(id)"),
        std::string("\\u003cscript\\u003e")})
    expect_attack_refused(rsa_key().token_with(header("RS256", named(kid)), good_claims()), kid, "not known here (kid");
  expect_attack_refused(rsa_key().token_with(header("RS256", named("other-1.x")), good_claims()), "unknown",
                        "(kid other-1.x)");
  expect_attack_refused(rsa_key().token_with(header("RS256", named(std::string(257, 'k'))), good_claims()), "long",
                        "kid");
  expect_attack_refused(rsa_key().token_with(header("RS256", named(std::string(5000, 'k'))), good_claims()), "longer",
                        "kid");
  for (const char* kid : {"7", "null", "[\"rsa\"]", "{\"kid\":\"rsa\"}", "true"})
    expect_attack_refused(rsa_key().token_with(header("RS256", std::string(",\"kid\":") + kid), good_claims()), kid,
                          "kid");
  // A known id means that key, even when one without an id would verify.
  KeySet keys = set_of({TestKey::ed25519().verifier("ed"), ed25519_key().verifier()});
  expect_attack_refused(ed25519_key().token(good_claims(), "ed"), "another key of that id", "does not verify", keys);
  EXPECT_TRUE(verify(ed25519_key().token(good_claims(), "unknown"), keys).ok());
}

// CVE-2018-0114 and its relatives: a key that the token brings along is nobody's.
TEST(TokenAttacks, KeysAndAddressesInTheHeaderAreNotLookedAt) {
  const TestKey evil = TestKey::ed25519();
  for (const std::string& more :
       {",\"jwk\":" + evil.jwk(), ",\"jwk\":" + evil.jwk("ed"), std::string(R"(,"jku":"http://127.0.0.1:1/jwks.json")"),
        std::string(R"(,"x5u":"http://127.0.0.1:1/cert.pem")"), std::string(R"(,"x5c":["MIIB"])"),
        std::string(R"(,"x5t":"AAAA")")}) {
    expect_attack_refused(evil.token_with(header("EdDSA", more), good_claims()), more, "does not verify");
    expect_attack_refused(evil.token_with(header("EdDSA", more + named("ed")), good_claims()), more, "does not verify");
    EXPECT_TRUE(verify(ed25519_key().token_with(header("EdDSA", more), good_claims()), all_keys()).ok()) << more;
  }
}

TEST(TokenAttacks, CriticalExtensionsAreRefused) {
  for (const char* more : {R"(,"crit":["b64"],"b64":false)", R"(,"crit":["exp"])", R"(,"crit":[])", R"(,"crit":null)"})
    expect_attack_refused(ed25519_key().token_with(header("EdDSA", more), good_claims()), more, "extensions");
}

TEST(TokenAttacks, NothingIsSaidTwice) {
  const TestKey& key = ed25519_key();
  expect_attack_refused(key.token_with(R"({"alg":"EdDSA","alg":"EdDSA"})", good_claims()), "alg twice", "header");
  expect_attack_refused(key.token_with(R"({"alg":"none","alg":"EdDSA"})", good_claims()), "alg twice", "header");
  expect_attack_refused(key.token_with(R"({"alg":"EdDSA","kid":"ed","kid":"rsa"})", good_claims()), "kid twice",
                        "header");
  expect_attack_refused(key.token_with(R"({"alg":"EdDSA","\u0061lg":"none"})", good_claims()), "alg escaped", "header");
  expect_attack_refused(key.token(good_claims(R"(,"exp":1)")), "exp twice", "claims");
  expect_attack_refused(key.token(good_claims(R"(,"x":{"a":1,"a":2})")), "inside", "claims");
  expect_attack_refused(key.token(good_claims(R"(,"\u0074enant":"rival")")), "tenant escaped", "claims");
}

TEST(TokenAttacks, TruncatedPaddedAndRespelledSignatures) {
  for (const Kind& kind : kKinds) {
    const std::string token = kind.key.token(good_claims(), kind.kid);
    const std::string part = token.substr(0, token.rfind('.'));
    const Bytes signature = *from_base64url(token.substr(part.size() + 1));
    ASSERT_TRUE(verify(token, all_keys()).ok());
    for (size_t cut : {size_t{0}, size_t{1}, size_t{31}, size_t{32}, size_t{63}, signature.size() - 1})
      expect_attack_refused(part + "." + base64url(signature.substr(0, cut)), "cut", "does not verify");
    expect_attack_refused(part + "." + base64url(signature + '\0'), "a zero behind", "does not verify");
    expect_attack_refused(part + "." + base64url('\0' + signature), "a zero in front", "does not verify");
    expect_attack_refused(part + "." + base64url(signature + signature), "twice", "does not verify");
    expect_attack_refused(part + "." + base64url(Bytes(signature.size(), '\0')), "zeros", "does not verify");
    expect_attack_refused(part + "." + base64url(Bytes(signature.size(), '\xff')), "ones", "does not verify");
    expect_attack_refused(token + "=", "padding", "base64url");
    expect_attack_refused(token + "==", "padding", "base64url");
    expect_attack_refused(part + "." + base64(signature), "the standard alphabet");
    std::string respelled = token;  // unused bits of the last character
    ASSERT_NE(signature.size() % 3, 0u);
    respelled.back() = static_cast<char>(respelled.back() + 1);
    expect_attack_refused(respelled, "trailing bits", "");
    for (size_t i = 0; i < signature.size(); i += 7) {
      Bytes changed = signature;
      changed[i] = static_cast<char>(changed[i] ^ 1);
      expect_attack_refused(part + "." + base64url(changed), "a bit", "does not verify");
    }
    for (const char* odd : {"\n", " ", "\t", "%3D", "+", "/"}) expect_attack_refused(token + odd, odd);
  }
}

TEST(TokenAttacks, EllipticCurveSignaturesHaveOneForm) {
  const TestKey& key = p256_key();
  const std::string part = base64url(header("ES256")) + "." + base64url(good_claims());
  const Bytes good = key.sign(part);
  ASSERT_TRUE(verify(part + "." + base64url(good), all_keys()).ok());
  expect_attack_refused(part + "." + base64url(key.sign_raw(part)), "DER", "does not verify");
  const Bytes zero(32, '\0'), r = good.substr(0, 32), s = good.substr(32);
  // CVE-2022-21449: 0 for r and s verified anything.
  expect_attack_refused(part + "." + base64url(zero + zero), "r and s zero", "does not verify");
  expect_attack_refused(part + "." + base64url(zero + s), "r zero", "does not verify");
  expect_attack_refused(part + "." + base64url(r + zero), "s zero", "does not verify");
  const Bytes order = *from_hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
  expect_attack_refused(part + "." + base64url(order + s), "r is the order", "does not verify");
  expect_attack_refused(part + "." + base64url(r + order), "s is the order", "does not verify");
  expect_attack_refused(part + "." + base64url(order + order), "both are", "does not verify");
  expect_attack_refused(part + "." + base64url(s + r), "exchanged", "does not verify");
  const std::string other_digest = part + "." + base64url(key.sign_raw(part, EVP_sha512()));
  expect_attack_refused(other_digest, "SHA-512", "does not verify");
}

TEST(TokenAttacks, RsaSignaturesAreOfThisPaddingAndDigest) {
  const std::string part = base64url(header("RS256")) + "." + base64url(good_claims());
  for (const EVP_MD* digest : {EVP_sha1(), EVP_sha384(), EVP_sha512()})
    expect_attack_refused(part + "." + base64url(rsa_key().sign_raw(part, digest)), "another digest",
                          "does not verify");
  // A signature of 1 is its own message under every exponent.
  expect_attack_refused(part + "." + base64url(Bytes(255, '\0') + '\x01'), "one", "does not verify");
}

TEST(TokenAttacks, TimesAreTimes) {
  const auto with = [](const std::string& exp) {
    return ed25519_key().token(R"({"tenant":"a","sub":"d","exp":)" + exp + "}");
  };
  expect_attack_refused(ed25519_key().token(R"({"tenant":"a","sub":"d"})"), "no exp", "expiry");
  for (const char* exp :
       {"\"1700003600\"", "null", "true", "[1700003600]", "{}", "-1", "-1700003600", "1e300", "-1e300",
        "9223372036854775807", "9223372036854775808", "18446744073709551615", "1e11000", "\"inf\""})
    expect_attack_refused(with(exp), exp);
  for (const char* exp : {"0", "1", "0.5", "-0", "1699999939", "1699999939.9"})
    expect_attack_refused(with(exp), exp, "expired");
  for (const char* exp : {"1700003600.5", "1.7000036e9", "253402300799"})
    EXPECT_TRUE(verify(with(exp), all_keys()).ok()) << exp;
  for (const char* name : {"nbf", "iat"})
    for (const char* time : {"\"1\"", "null", "-1", "1e300", "1700000061"})
      expect_attack_refused(ed25519_key().token(good_claims(std::string(",\"") + name + "\":" + time)), time);
}

TEST(TokenAttacks, SizesAndDepthsAreBounded) {
  const TestKey& key = ed25519_key();
  expect_attack_refused(std::string(kMostTokenBytes + 1, '.'), "dots", "too long");
  expect_attack_refused(key.token(good_claims(R"(,"x":")" + std::string(8000, 'x') + "\"")), "a large claim",
                        "too long");
  for (const auto& [open, close] : {std::pair<std::string, std::string>{"[", "]"}, {"{\"a\":", "}"}}) {
    std::string bomb;
    for (int i = 0; i < 1000; ++i) bomb += open;
    expect_attack_refused(key.token(bomb), "depth", "claims");
    expect_attack_refused(key.token_with(bomb, good_claims()), "depth of a header", "header");
    bomb += "1";
    for (int i = 0; i < 700; ++i) bomb += close;
    expect_attack_refused(key.token(good_claims(",\"x\":" + bomb)), "depth inside", "claims");
  }
  expect_attack_refused(key.token_with(header("EdDSA", R"(,"x":[[[[[1]]]]])"), good_claims()), "depth of a header",
                        "header");
  EXPECT_TRUE(verify(key.token(good_claims(R"(,"x":[[[[[[[[[[1]]]]]]]]]])")), all_keys()).ok());
}

}  // namespace
}  // namespace rejoin::server
