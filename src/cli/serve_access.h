// The options of `rejoin serve` that say who may do what: the caller's role in PostgreSQL, directions of tables.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "server/settings.h"

namespace rejoin::cli {

struct AccessArguments {
  bool impersonate = false;
  std::string impersonate_role;
  std::string recheck = "60s";
  std::vector<std::string> tables;
};

// `arguments` must outlive the command.
void add_access_options(CLI::App& command, AccessArguments& arguments);
// Errors: bad_argument.
Status fill_access(const AccessArguments& arguments, server::Settings& settings);

// "todos=read" with the words and rights of either end. Errors: bad_argument.
struct RightWord {
  std::string_view word;
  sync::TableRight right;
};
Status add_right(const std::string& flag, const std::string& text, const std::vector<RightWord>& words,
                 sync::TableRights& rights);

}  // namespace rejoin::cli
