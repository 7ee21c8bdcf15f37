// What a store is told of a caller: from its token, and from what this server lets anybody do.
#pragma once

#include "server/claims.h"
#include "server/settings.h"
#include "sync/identity.h"

namespace rejoin::server {

// The claims that make a view are all but those that differ from token to token (exp, iat, nbf, jti), and only when
// rows are read under the caller's role.
sync::Identity identity_of(const Claims& claims, const Settings& settings);

}  // namespace rejoin::server
