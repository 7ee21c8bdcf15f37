// Access tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256 (RFC 7515, "HS256"), and nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace rejoin::server {

inline constexpr size_t kMostTokenBytes = 8192;
inline constexpr size_t kLeastSecretBytes = 32;
inline constexpr size_t kMostNameBytes = 128;  // of a device; tenants: see tenant_files.h

// What a token says. Claims that are not named here are ignored.
struct Claims {
  std::string tenant;     // "tenant"
  std::string device;     // "sub", or "device"
  bool relay = false;     // "relay": may push other sites' changes
  bool schema = false;    // "schema": may create tables with its contract
  int64_t expires_s = 0;  // "exp", seconds since the Unix epoch; required
  friend bool operator==(const Claims&, const Claims&) = default;
};

// Errors: unauthorized, with a message that says nothing about the secret. Checks, in this order: size, three parts,
// strict base64url, the signature in constant time, then the header (alg exactly "HS256", no "crit") and the claims
// (exp present and not past; nbf and iat not ahead of the clock by more than `skew_s`; no claim twice; right types).
Result<Claims> verify_token(std::string_view token, BytesView secret, int64_t now_ms, int64_t skew_s = 60);

// A token with these claims, issued now. Errors: bad_argument (no tenant, device, expiry; a tenant's name that no
// server takes; secret shorter than 32 bytes).
Result<std::string> mint_token(const Claims& claims, BytesView secret, int64_t now_ms);

}  // namespace rejoin::server
