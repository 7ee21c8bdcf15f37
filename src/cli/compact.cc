// rejoin compact: forgets what every peer has.
#include <boost/json/object.hpp>

#include "cli/command.h"
#include "cli/open.h"
#include "cli/progress.h"
#include "cli/units.h"

namespace rejoin::cli {
namespace {

Result<int> run_compact(const std::string& file, std::optional<int64_t> keep_days, Output& output) {
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> database, open_database(file, OpenMode::write));
  Progress progress("compacting", output.json());
  REJOIN_ASSIGN(int64_t removed, database->replica().compact(keep_days));
  progress.end();
  if (output.json())
    output.document({{"removed", removed}});
  else
    output.line("removed " + counted(static_cast<uint64_t>(removed), "entry", "entries"));
  return kOk;
}

}  // namespace

void add_compact(Commands& commands) {
  auto file = std::make_shared<std::string>();
  CLI::App* command = commands.add("compact", "Shrink the change log",
                                   "Forgets log entries that every server this file syncs with has acknowledged, and\n"
                                   "rows that were deleted more than 30 days ago. It also happens by itself. The\n"
                                   "file's own size goes down with SQLite's VACUUM.",
                                   "rejoin compact app.db");
  command->add_option("FILE", *file, "The SQLite database")->required();
  auto keep_days = std::make_shared<std::optional<int64_t>>();
  command->add_option("--keep-days", *keep_days, "Keep deleted rows for so many days, from now on");
  commands.on_run(command, [=](Output& output) { return in_file(*file, run_compact(*file, *keep_days, output)); });
}

}  // namespace rejoin::cli
