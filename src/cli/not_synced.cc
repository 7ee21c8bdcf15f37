#include "cli/not_synced.h"

#include "cli/open.h"
#include "cli/terminal.h"
#include "cli/units.h"

namespace rejoin::cli {

std::string not_synced_text(const std::string& table, uint64_t unsent, const std::string& file) {
  const std::string arguments = shell_word(file) + " " + shell_word(table);
  return printable(table) + ": dropped or renamed, and made anew" +
         (unsent > 0 ? ", with " + counted(unsent, "write") + " not sent" : "") + "; sync it: rejoin track " +
         arguments + ", or leave it so: rejoin untrack " + arguments;
}

}  // namespace rejoin::cli
