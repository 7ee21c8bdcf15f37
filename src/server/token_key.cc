#include "server/token_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>

#include <algorithm>
#include <iterator>

namespace rejoin::server {
namespace {

constexpr int kLeastRsaBits = 2048;
constexpr int kMostRsaBits = 8192;     // beyond, one token takes milliseconds of a socket's thread
constexpr int kMostExponentBits = 64;  // as OpenSSL has it for large moduli
constexpr size_t kCoordinate = 32;     // of P-256, and half of a signature

template <auto free_it>
struct Freer {
  template <class T>
  void operator()(T* p) const {
    free_it(p);
  }
};
template <class T, auto free_it>
using Owned = std::unique_ptr<T, Freer<free_it>>;
using Number = Owned<BIGNUM, BN_free>;
using KeyContext = Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;
using DigestContext = Owned<EVP_MD_CTX, EVP_MD_CTX_free>;
using Builder = Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free>;
using Parameters = Owned<OSSL_PARAM, OSSL_PARAM_free>;
using Decoder = Owned<OSSL_DECODER_CTX, OSSL_DECODER_CTX_free>;
using Signature = Owned<ECDSA_SIG, ECDSA_SIG_free>;

const unsigned char* raw(BytesView bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
Number number(BytesView bytes) { return Number(BN_bin2bn(raw(bytes), static_cast<int>(bytes.size()), nullptr)); }

// OpenSSL's queue of errors belongs to the thread: what a stranger's bytes left in it must not be read as another's.
struct QuietErrors {
  ~QuietErrors() { ERR_clear_error(); }
};

EVP_PKEY* build(const char* type, OSSL_PARAM* parameters) {
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (!context || EVP_PKEY_fromdata_init(context.get()) <= 0 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters) <= 0)
    return nullptr;
  return key;
}

// RFC 7518, 3.4: r and s, 32 bytes each. OpenSSL wants them in DER and checks their range.
std::optional<Bytes> der_signature(BytesView signature) {
  if (signature.size() != 2 * kCoordinate) return std::nullopt;
  const Signature pair(ECDSA_SIG_new());
  Number r = number(signature.substr(0, kCoordinate)), s = number(signature.substr(kCoordinate));
  if (!pair || !r || !s || ECDSA_SIG_set0(pair.get(), r.get(), s.get()) != 1) return std::nullopt;
  (void)r.release(), (void)s.release();  // the pair's now
  unsigned char* out = nullptr;
  const int size = i2d_ECDSA_SIG(pair.get(), &out);
  if (size <= 0) return std::nullopt;
  Bytes der(reinterpret_cast<char*>(out), static_cast<size_t>(size));
  OPENSSL_free(out);
  return der;
}

bool verify_with(EVP_PKEY* key, const EVP_MD* digest, BytesView message, BytesView signature) {
  const QuietErrors quiet;
  const DigestContext context(EVP_MD_CTX_new());
  return context && EVP_DigestVerifyInit(context.get(), nullptr, digest, nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), raw(signature), signature.size(), raw(message), message.size()) == 1;
}

// Points of an order of 8 and less, in every spelling, without the sign: anyone can sign for such a "key". The list is
// that of libsodium (ge25519_has_small_order).
bool small_order(Bytes point) {
  static const std::string kSmall[] = {"0000000000000000000000000000000000000000000000000000000000000000",
                                       "0100000000000000000000000000000000000000000000000000000000000000",
                                       "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
                                       "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
                                       "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                                       "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                                       "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};
  point.back() = static_cast<char>(point.back() & 0x7f);
  return std::find(std::begin(kSmall), std::end(kSmall), to_hex(point)) != std::end(kSmall);
}

Error bad(std::string why) { return fail(Code::bad_argument, std::move(why)); }

}  // namespace

std::string_view algorithm_name(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::hs256:
      return "HS256";
    case Algorithm::rs256:
      return "RS256";
    case Algorithm::es256:
      return "ES256";
    case Algorithm::eddsa:
      return "EdDSA";
  }
  return "";
}

std::optional<Algorithm> algorithm_from(std::string_view name) {
  for (Algorithm algorithm : {Algorithm::hs256, Algorithm::rs256, Algorithm::es256, Algorithm::eddsa})
    if (name == algorithm_name(algorithm)) return algorithm;
  return std::nullopt;
}

Bytes hmac_sha256(BytesView secret, BytesView message) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int n = 0;
  if (!HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), raw(message), message.size(), out, &n))
    return {};
  return Bytes(reinterpret_cast<char*>(out), n);
}

Result<TokenKey> TokenKey::secret(std::string secret) {
  if (secret.size() < kLeastSecretBytes)
    return bad("has " + std::to_string(secret.size()) + " bytes; at least " + std::to_string(kLeastSecretBytes) +
               " are needed (try: openssl rand -hex 32)");
  TokenKey key(Algorithm::hs256, nullptr);
  key.secret_ = std::move(secret);
  return key;
}

Result<TokenKey> TokenKey::checked(Shared key) {
  const QuietErrors quiet;
  if (!key) return bad("is no public key that can be used");
  std::optional<Algorithm> algorithm;
  if (EVP_PKEY_is_a(key.get(), "RSA")) {
    const int bits = EVP_PKEY_get_bits(key.get());
    if (bits < kLeastRsaBits || bits > kMostRsaBits)
      return bad("is an RSA key of " + std::to_string(bits) + " bits; " + std::to_string(kLeastRsaBits) + " to " +
                 std::to_string(kMostRsaBits) + " are accepted");
    BIGNUM* e = nullptr;
    if (EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_RSA_E, &e) != 1) return bad("is an RSA key without exponent");
    const Number exponent(e);
    if (BN_num_bits(e) > kMostExponentBits || !BN_is_odd(e) || BN_is_one(e))
      return bad("is an RSA key with an exponent that no key should have");
    algorithm = Algorithm::rs256;
  } else if (EVP_PKEY_is_a(key.get(), "EC")) {
    char group[64] = "";
    size_t size = 0;
    if (EVP_PKEY_get_group_name(key.get(), group, sizeof group, &size) != 1 || std::string_view(group) != "prime256v1")
      return bad("is a key of another curve than P-256 (prime256v1), the only one accepted for ES256");
    algorithm = Algorithm::es256;
  } else if (EVP_PKEY_is_a(key.get(), "ED25519")) {
    Bytes point(32, '\0');
    size_t size = point.size();
    if (EVP_PKEY_get_raw_public_key(key.get(), reinterpret_cast<unsigned char*>(point.data()), &size) != 1 ||
        small_order(point))
      return bad("is an Ed25519 key that anyone can sign for");
    algorithm = Algorithm::eddsa;
  }
  if (!algorithm) return bad("is a key of a kind that is not used here; use RSA, P-256 or Ed25519");
  const KeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr));
  if (!context || EVP_PKEY_public_check(context.get()) != 1) return bad("is damaged: its numbers make no key");
  return TokenKey(*algorithm, std::move(key));
}

Result<TokenKey> TokenKey::from_pem(const std::string& pem) {
  const QuietErrors quiet;
  const size_t begin = pem.find("-----BEGIN ");
  if (begin == std::string::npos) return bad("is not in PEM form; it must hold a -----BEGIN PUBLIC KEY-----");
  if (pem.find("-----BEGIN ", begin + 1) != std::string::npos)
    return bad("holds more than one key; make one file of each");
  const std::string_view label = std::string_view(pem).substr(begin + 11, pem.find('\n', begin) - begin - 11);
  if (label.find("PRIVATE") != std::string_view::npos)
    return bad(
        "holds a private key, which a server that only verifies should not have; give it the public half "
        "(openssl pkey -in KEY -pubout)");
  if (label.find("CERTIFICATE") != std::string_view::npos)
    return bad("holds a certificate; give the key in it (openssl x509 -in CERTIFICATE -noout -pubkey)");
  EVP_PKEY* key = nullptr;
  const Decoder decoder(
      OSSL_DECODER_CTX_new_for_pkey(&key, "PEM", nullptr, nullptr, EVP_PKEY_PUBLIC_KEY, nullptr, nullptr));
  const unsigned char* data = raw(pem);
  size_t size = pem.size();
  if (!decoder || OSSL_DECODER_from_data(decoder.get(), &data, &size) != 1)
    return bad("holds no public key that can be read; it must be RSA, P-256 or Ed25519 in PEM form");
  return checked(Shared(key, EVP_PKEY_free));
}

Result<TokenKey> TokenKey::rsa(BytesView modulus, BytesView exponent) {
  const QuietErrors quiet;
  // Before anything is computed with them.
  if (modulus.size() > kMostRsaBits / 8 + 1 || exponent.size() > kMostRsaBits / 8 + 1)
    return bad("is an RSA key of more than " + std::to_string(kMostRsaBits) + " bits");
  const Number n = number(modulus), e = number(exponent);
  const Builder builder(OSSL_PARAM_BLD_new());
  if (!n || !e || !builder || !OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) ||
      !OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()))
    return bad("is no RSA key");
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  return checked(Shared(build("RSA", parameters.get()), EVP_PKEY_free));
}

Result<TokenKey> TokenKey::p256(BytesView x, BytesView y) {
  const QuietErrors quiet;
  if (x.size() != kCoordinate || y.size() != kCoordinate) return bad("is a P-256 key whose x or y has not 32 bytes");
  const Bytes point = "\x04" + Bytes(x) + Bytes(y);
  const Builder builder(OSSL_PARAM_BLD_new());
  if (!builder || !OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ||
      !OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()))
    return bad("is no P-256 key");
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  return checked(Shared(build("EC", parameters.get()), EVP_PKEY_free));
}

Result<TokenKey> TokenKey::ed25519(BytesView x) {
  const QuietErrors quiet;
  if (x.size() != 32) return bad("is an Ed25519 key that has not 32 bytes");
  return checked(Shared(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw(x), x.size()), EVP_PKEY_free));
}

bool TokenKey::verifies(BytesView message, BytesView signature) const {
  switch (algorithm_) {
    case Algorithm::hs256: {
      const Bytes expected = hmac_sha256(secret_, message);
      return expected.size() == 32 && signature.size() == expected.size() &&
             CRYPTO_memcmp(expected.data(), signature.data(), expected.size()) == 0;
    }
    case Algorithm::rs256:
      // PKCS#1 v1.5, which is what OpenSSL does unless told.
      return signature.size() == static_cast<size_t>(EVP_PKEY_get_size(key_.get())) &&
             verify_with(key_.get(), EVP_sha256(), message, signature);
    case Algorithm::es256: {
      const std::optional<Bytes> der = der_signature(signature);
      return der && verify_with(key_.get(), EVP_sha256(), message, *der);
    }
    case Algorithm::eddsa:
      return signature.size() == 64 && verify_with(key_.get(), nullptr, message, signature);
  }
  return false;
}

}  // namespace rejoin::server
