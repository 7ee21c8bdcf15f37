// rejoin sync --watch: stays connected until it is stopped.
#pragma once

#include <functional>
#include <string>

#include "cli/command.h"
#include "sqlite/database.h"

namespace rejoin::cli {

struct WatchArguments {
  std::string file;
  sqlite::Connection connection;
  std::function<std::string()> token;  // the one that is good now
  std::string ca_file;
  bool remember = false;  // address and token, in the file, once the server has answered
};

// Interrupts must be caught already. Exit codes: interrupted, or why no waiting would help.
Result<int> watch(sqlite::Database& database, const WatchArguments& arguments, Output& output);

}  // namespace rejoin::cli
