// A token from a file.
#pragma once

#include <string>

#include "base/result.h"

namespace rejoin::cli {

// Its first line. Errors: not_found, bad_argument.
Result<std::string> read_token_file(const std::string& path);

}  // namespace rejoin::cli
