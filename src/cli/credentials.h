// As whom a command speaks to a server, and which certificates it trusts: options that several commands have.
#pragma once

#include <CLI/App.hpp>
#include <string>

#include "base/result.h"

namespace rejoin::cli {

struct Credentials {
  std::string token, token_file, ca_file;
};

// Adds --token, --token-file and --ca-file.
void add_credentials(CLI::App* command, Credentials& credentials);
// From --token, else --token-file, else REJOIN_TOKEN, else empty. Errors: those of read_token_file.
Result<std::string> token_of(const Credentials& credentials);

}  // namespace rejoin::cli
