// What an access token says, and by which rules its claims are read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "sync/identity.h"

namespace rejoin::server {

inline constexpr size_t kMostNameBytes = 128;  // of a device or role; tenants: see tenant_files.h

// What a token says. Claims that are not named here are ignored.
struct Claims {
  std::string tenant;
  std::string device;
  bool relay = false;        // may push other sites' changes
  bool schema = false;       // may create tables with its contract
  int64_t expires_s = 0;     // "exp", seconds since the Unix epoch; required
  std::string role;          // "role", if it is a string: for a store that knows roles
  sync::TableRights tables;  // "tables": what it may do with each; none: everything
  std::string json;          // all claims as the issuer wrote them: one JSON object, no key twice
  // `json` apart, which may say the same in other words.
  friend bool operator==(const Claims& a, const Claims& b) {
    return a.tenant == b.tenant && a.device == b.device && a.relay == b.relay && a.schema == b.schema &&
           a.expires_s == b.expires_s && a.role == b.role && a.tables == b.tables;
  }
};

// Where a claim stands: the names of the objects that lead to it, its own last.
using ClaimPath = std::vector<std::string>;

// "tenant", "app_metadata.tenant". A path that starts with http:// or https:// is one name, dots and all, as issuers
// use them for claims of their own. Errors: bad_argument.
Result<ClaimPath> parse_claim_path(std::string_view text);
std::string claim_path_text(const ClaimPath& path);

// How an issuer writes its tokens. The defaults are those of `rejoin token`.
struct ClaimRules {
  std::string audience;  // `aud` must have it; empty: not looked at
  std::string issuer;    // `iss` must be it; empty: not looked at
  ClaimPath tenant{"tenant"};
  std::vector<ClaimPath> device{{"device"}, {"sub"}};  // the first one that is there
  bool devices_agree = true;                           // and all that are there must be equal
  ClaimPath relay{"relay"};
  ClaimPath schema{"schema"};
  ClaimPath tables{"tables"};
};

// The claims of a payload whose signature is known to be right. exp must be there and not past; nbf and iat must not
// lie ahead of the clock by more than `skew_s`; no key twice; right types. Errors: unauthorized.
Result<Claims> read_claims(BytesView json, const ClaimRules& rules, int64_t now_s, int64_t skew_s);

// No control characters.
bool printable_name(std::string_view name);

}  // namespace rejoin::server
