// Public keys from files.
#pragma once

#include <string>

#include "server/key_set.h"

namespace rejoin::server {

// Adds the one key of a PEM file; it has no id. Errors: not_found, forbidden, disk, bad_argument; with the cure.
Status add_pem_file(const std::string& path, KeySet& keys);

// Adds the keys of a JWKS file. One that is weak or damaged, and a file without any, is an error: whoever wrote the
// file can put it right. Errors: as above.
Status add_jwks_file(const std::string& path, KeySet& keys);

}  // namespace rejoin::server
