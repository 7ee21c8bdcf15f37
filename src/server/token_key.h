// A key that access tokens are verified with, bound to the one algorithm it is used with: a token may name an
// algorithm, but it never decides how a key is used (RFC 8725, 3.1).
#pragma once

#include <openssl/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace rejoin::server {

inline constexpr size_t kLeastSecretBytes = 32;
inline constexpr size_t kMostKeyIdBytes = 256;

// RFC 7518 and, for Ed25519, RFC 8037.
enum class Algorithm { hs256, rs256, es256, eddsa };

// "HS256", "RS256", "ES256", "EdDSA"; exactly so, upper and lower case included.
std::string_view algorithm_name(Algorithm algorithm);
std::optional<Algorithm> algorithm_from(std::string_view name);

// Immutable and thread-safe; copies share what OpenSSL holds. Errors of all makers: bad_argument, with a message that
// goes on after the key's name ("has 1024 bits; …").
class TokenKey {
 public:
  // HS256. At least 32 bytes.
  static Result<TokenKey> secret(std::string secret);
  // One public key in PEM form ("PUBLIC KEY", "RSA PUBLIC KEY"): RSA is RS256, P-256 is ES256, Ed25519 is EdDSA.
  static Result<TokenKey> from_pem(const std::string& pem);
  // From the numbers of a JWK, big-endian. RSA has 2,048 to 8,192 bits.
  static Result<TokenKey> rsa(BytesView modulus, BytesView exponent);
  static Result<TokenKey> p256(BytesView x, BytesView y);  // 32 bytes each, a point of the curve
  static Result<TokenKey> ed25519(BytesView x);            // 32 bytes

  Algorithm algorithm() const { return algorithm_; }
  // The name that a token's header asks for it by; empty: it has none.
  const std::string& id() const { return id_; }
  void set_id(std::string id) { id_ = std::move(id); }

  // Whether this signature, as a token carries it, is this key's over the message. HMACs are compared in constant time.
  bool verifies(BytesView message, BytesView signature) const;

 private:
  using Shared = std::shared_ptr<EVP_PKEY>;
  static Result<TokenKey> checked(Shared key);
  TokenKey(Algorithm algorithm, Shared key) : algorithm_(algorithm), key_(std::move(key)) {}

  Algorithm algorithm_;
  Shared key_;          // empty for HS256
  std::string secret_;  // HS256 only
  std::string id_;
};

// HMAC-SHA-256; empty only if OpenSSL fails.
Bytes hmac_sha256(BytesView secret, BytesView message);

}  // namespace rejoin::server
