// The options of `rejoin serve` that say whose tokens it accepts.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "server/settings.h"

namespace rejoin::cli {

struct AuthArguments {
  std::string secret_file;
  std::vector<std::string> key_files;
  std::string jwks_file, jwks_url, supabase_url;
  std::string audience, issuer;
  std::string tenant_claim, device_claim;
};

// `arguments` must outlive the command.
void add_auth_options(CLI::App& command, AuthArguments& arguments);

// Fills what `tokens` says about claims and addresses. Error: bad_argument.
Status fill_rules(const AuthArguments& arguments, server::Settings& settings);

// Fills the keys of `tokens`, and `secret`, of settings whose `data_dir`, `dev` and rules are set; reads the files. The
// secret of the data folder is taken (and made) only if nothing else is given. Errors: those of the files, and
// unauthorized.
Status fill_keys(const AuthArguments& arguments, server::Settings& settings);

}  // namespace rejoin::cli
