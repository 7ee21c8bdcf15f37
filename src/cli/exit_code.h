// What the process's exit status says about how a command ended. docs/cli.md has the table for users.
#pragma once

#include "base/result.h"

namespace rejoin::cli {

enum ExitCode : int {
  kOk = 0,
  kFailed = 1,         // anything that has no class of its own
  kUsage = 2,          // the command line itself is wrong
  kRefused = 3,        // asked and answered: no (token, permission, a table that cannot be synced)
  kNetwork = 4,        // no server, or the connection broke
  kTryAgain = 5,       // locked, overloaded, disk full: the same command may succeed later
  kNotFound = 6,       // no such file, table, row or connection
  kDamaged = 7,        // a damaged file, changeset or message
  kInterrupted = 130,  // Ctrl-C, as shells report it
};

ExitCode exit_code_of(Code code);
// One line for the reference and for `rejoin errors`.
const char* exit_code_meaning(ExitCode code);

}  // namespace rejoin::cli
