// Access tokens: JSON Web Tokens (RFC 7519) in the compact form of RFC 7515, signed with HS256, RS256, ES256 or EdDSA.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "server/claims.h"
#include "server/key_set.h"

namespace rejoin::server {

inline constexpr size_t kMostTokenBytes = 8192;

// A token taken apart; nothing of it is verified. The views are into the text it was made from.
struct SplitToken {
  Algorithm algorithm = Algorithm::hs256;
  std::string key_id;  // "kid"; empty: none
  std::string_view signed_part;
  Bytes payload;
  Bytes signature;
};

// Checks, in this order: size, three parts, strict base64url, the header (alg one of the four, no "crit", no key
// twice). Keys and addresses of keys in the header (jwk, jku, x5u, x5c) are not looked at. Errors: unauthorized.
Result<SplitToken> split_token(std::string_view token);

// The signature, by the keys' own rules (key_set.h), and then the claims. Errors: unauthorized, with a message that
// says nothing about the keys.
Result<Claims> verify_token(const SplitToken& token, const KeySet& keys, const ClaimRules& rules, int64_t now_ms,
                            int64_t skew_s = 60);

// The same for a token of `mint_token`.
Result<Claims> verify_token(std::string_view token, BytesView secret, int64_t now_ms, int64_t skew_s = 60);

// An HS256 token with these claims (`json` apart), issued now. Errors: bad_argument (no tenant, device, expiry; a
// tenant's name that no server takes; secret shorter than 32 bytes).
Result<std::string> mint_token(const Claims& claims, BytesView secret, int64_t now_ms);

}  // namespace rejoin::server
