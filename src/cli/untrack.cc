// rejoin untrack: makes synced tables ordinary ones again.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "cli/command.h"
#include "cli/open.h"
#include "cli/progress.h"

namespace rejoin::cli {
namespace {

struct UntrackArguments {
  std::string file;
  std::vector<std::string> tables;
};

Result<int> run_untrack(const UntrackArguments& arguments, Output& output) {
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> database, open_database(arguments.file, OpenMode::write));
  std::vector<std::string> names;
  for (const std::string& wanted : arguments.tables) {
    // Where its metadata is gone (see doctor) nothing can be read of it.
    const auto table = find_tracked(*database, arguments.file, wanted);
    // One that was dropped and made anew is none any more, and may stay so.
    if (!table.ok() && table.error().code == Code::not_tracked && database->replica().untrack(wanted).ok()) continue;
    if (!table.ok() && table.error().code != Code::internal) return table.error();
    names.push_back(table.ok() ? table->name : wanted);
  }
  boost::json::array untracked;
  for (const std::string& name : names) {
    Progress progress("untracking " + name, output.json());
    REJOIN_TRY(database->replica().untrack(name));
    progress.end();
    untracked.emplace_back(name);
    if (!output.json()) output.line("no longer tracking " + name + " (its rows stay; its history is gone)");
  }
  if (output.json()) output.document({{"untracked", std::move(untracked)}});
  return kOk;
}

}  // namespace

void add_untrack(Commands& commands) {
  auto arguments = std::make_shared<UntrackArguments>();
  CLI::App* command = commands.add(
      "untrack", "Make synced tables ordinary ones again",
      "The rows stay. Triggers, versions, kept values of deleted rows and changes that were not sent yet are removed.",
      "rejoin untrack app.db todos");
  command->add_option("FILE", arguments->file, "The SQLite database")->required();
  command->add_option("TABLE", arguments->tables, "The tables")->required();
  commands.on_run(command,
                  [arguments](Output& output) { return in_file(arguments->file, run_untrack(*arguments, output)); });
}

}  // namespace rejoin::cli
