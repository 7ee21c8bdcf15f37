// The key of the access tokens: the text of a file or of an environment variable, used as it is (so that any JWT tool
// can use it too).
#pragma once

#include <string>

#include "base/random.h"
#include "base/result.h"

namespace rejoin::server {

// Where a secret comes from, in this order: `file` if not empty, the variable REJOIN_SECRET, DIR/secret, which is made
// on first use: 32 random bytes in hex, mode 0600. White space at the end is dropped. Errors: forbidden (a file that
// others may read), bad_argument (shorter than 32 bytes), not_found, disk; each with the cure.
Result<std::string> find_secret(const std::string& data_dir, const std::string& file = {},
                                Random& random = system_random());

Result<std::string> read_secret_file(const std::string& path);
// Two that start at once agree on one secret.
Result<std::string> load_or_make_secret(const std::string& path, Random& random);

// Makes the folder (0700), parents too, if it is not there.
Status make_folder(const std::string& path);

}  // namespace rejoin::server
