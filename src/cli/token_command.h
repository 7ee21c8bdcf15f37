// A token that a program of the user's gives.
#pragma once

#include <string>

#include "base/result.h"

namespace rejoin::cli {

// Runs the command as the shell does and takes the first line that it prints. Errors: unauthorized, with its exit
// status.
Result<std::string> run_token_command(const std::string& command);

}  // namespace rejoin::cli
