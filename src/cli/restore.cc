// rejoin restore: brings a deleted row back.
#include <boost/json/object.hpp>

#include "cli/command.h"
#include "cli/key_args.h"
#include "cli/open.h"

namespace rejoin::cli {
namespace {

Result<int> run_restore(const KeyArguments& arguments, Output& output) {
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> database, open_database(arguments.file, OpenMode::write));
  REJOIN_ASSIGN(sqlite::TableInfo table, find_tracked(*database, arguments.file, arguments.table));
  REJOIN_ASSIGN(Key key, parse_key(*database, table, arguments));
  REJOIN_ASSIGN(bool restored, database->replica().restore(table.name, key.values));
  if (output.json())
    output.document({{"restored", restored}});
  else
    output.line(restored ? "restored " + key_text(table, key) : key_text(table, key) + " is alive already");
  return kOk;
}

}  // namespace

void add_restore(Commands& commands) {
  auto arguments = std::make_shared<KeyArguments>();
  CLI::App* command = commands.add(
      "restore", "Bring a deleted row back",
      "It has the values it was deleted with, and edits that others made to it meanwhile.\n"
      "A key column's value is read by the column's type; x'0aff' is a blob. Put -- before a negative number.",
      "rejoin restore app.db todos 01936f5e-8a1c-7cc2-b1d0-4b1f5f1c2f6a");
  add_key_options(*command, *arguments);
  commands.on_run(command,
                  [arguments](Output& output) { return in_file(arguments->file, run_restore(*arguments, output)); });
}

}  // namespace rejoin::cli
