// JSON Web Key Sets (RFC 7517): the form in which identity services publish their public keys.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/key_set.h"

namespace rejoin::server {

inline constexpr size_t kMostJwksBytes = 1 << 20;

struct Jwks {
  KeySet keys;
  std::vector<std::string> refused;  // why a key that is meant for us cannot be used, one sentence each
};

// The keys for RS256, ES256 and EdDSA. Silently left out: keys for anything else (another use, key_ops, kty, crv or
// alg; symmetric ones, which are no business of a published document). Named in `refused`: weak and damaged ones.
// Errors: corrupt (no key set, a key twice in an object), bad_argument (two keys of one kid, more than 64 keys),
// too_large; the messages go on after the document's name.
Result<Jwks> parse_jwks(std::string_view text);

}  // namespace rejoin::server
