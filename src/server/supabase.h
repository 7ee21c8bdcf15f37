// The conventions of Supabase's access tokens.
#pragma once

#include <string>
#include <string_view>

#include "server/token_verifier.h"

namespace rejoin::server {

// Sets the address of the keys, the issuer, the audience and the claims for the project at this URL
// ("https://abcdefgh.supabase.co"). Errors: bad_argument.
//
// Tenant, relay and schema come from `app_metadata`, which only the project's administrators write (`user_metadata` is
// the user's own to change). The device is the session: two devices of one user have two sessions but one `sub`, and a
// device's name is what the log and what a store may tell them apart by.
Status use_supabase(std::string_view url, TokenSettings& settings);

}  // namespace rejoin::server
