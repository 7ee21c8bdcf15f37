// rejoin track: makes tables synced ones.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <set>

#include "cli/command.h"
#include "cli/open.h"
#include "cli/progress.h"
#include "cli/units.h"

namespace rejoin::cli {
namespace {

struct TrackArguments {
  std::string file;
  std::vector<std::string> tables;
  bool all = false;
  bool allow_integer_key = false;
  bool forget_deleted = false;
  std::vector<std::string> former_names, former_columns;
};

// NEW=OLD, as the last '=' parts them.
Result<std::pair<std::string, std::string>> former_column(const std::string& text) {
  const size_t at = text.rfind('=');
  if (at == std::string::npos || at == 0 || at + 1 == text.size())
    return fail(Code::bad_argument,
                "--former-column takes the name of now and the one of before, like due_on=due, not \"" + text + "\"");
  return std::pair(text.substr(0, at), text.substr(at + 1));
}

// The engine speaks of the SQL function's option; here there is a flag.
bool is_integer_key(const Error& error) {
  return error.code == Code::untrackable && error.message.find("allow_integer_key") != std::string::npos;
}

Result<int> run_track(const TrackArguments& arguments, Output& output) {
  if (arguments.tables.empty() && !arguments.all)
    return fail(Code::bad_argument, "name the tables to track, or give --all");
  if (!arguments.tables.empty() && arguments.all)
    return fail(Code::bad_argument, "name tables or give --all, not both");
  if ((!arguments.former_names.empty() || !arguments.former_columns.empty()) && arguments.tables.size() != 1)
    return fail(Code::bad_argument, "--former-name and --former-column say what one table was called; name that table");
  sqlite::TrackOptions options;
  options.allow_integer_key = arguments.allow_integer_key;
  if (arguments.forget_deleted) options.keep_deleted = false;
  options.former_names = arguments.former_names;
  for (const std::string& text : arguments.former_columns) {
    REJOIN_ASSIGN(auto column, former_column(text));
    options.former_columns.push_back(std::move(column));
  }
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> database, open_database(arguments.file, OpenMode::write));

  std::vector<std::string> names;
  for (const std::string& wanted : arguments.tables) {
    Result<std::string> name = find_table(*database, arguments.file, wanted);
    if (!name.ok()) {
      // A view, a virtual table, one of Rejoin's own: the engine knows what is wrong with it.
      Status tried = database->replica().track(wanted, options);
      return !tried.ok() && tried.error().code == Code::untrackable ? tried.error() : name.error();
    }
    if (std::find(names.begin(), names.end(), *name) == names.end()) names.push_back(*name);
  }
  if (arguments.all) {
    REJOIN_ASSIGN(names, application_tables(*database));
  }
  if (names.empty()) return fail(Code::not_found, arguments.file + " has no tables yet; create one first");
  std::set<std::string> before;
  REJOIN_ASSIGN(std::vector<sqlite::TableInfo> known, database->replica().tables());
  for (const sqlite::TableInfo& table : known) before.insert(table.name);

  boost::json::array tracked, refused;
  for (const std::string& name : names) {
    bool again = before.contains(name);
    REJOIN_ASSIGN(uint64_t rows, count_rows(*database, name));
    Progress progress("tracking " + name + " (" + counted(rows, "row") + ")", output.json());
    Status status = database->replica().track(name, options);
    progress.end();
    if (!status.ok()) {
      // With --all a table that cannot be synced is news, not a failure.
      if (!arguments.all || status.error().code != Code::untrackable) {
        if (output.json() || !is_integer_key(status.error())) return status.error();
        return output.error(status.error(), {"or accept that risk: rejoin track " + shell_word(arguments.file) + " " +
                                             shell_word(name) + " --allow-integer-key"});
      }
      output.warning(status.error().message);
      refused.push_back({{"table", name}, {"reason", status.error().message}});
      continue;
    }
    tracked.push_back({{"table", name}, {"rows", rows}, {"already", again}});
    if (!output.json())
      output.line((again ? "tracked already: " : "tracking ") + name + " (" + counted(rows, "row") + ")");
  }
  bool nothing = tracked.empty();
  if (output.json()) output.document({{"tracked", std::move(tracked)}, {"refused", std::move(refused)}});
  return nothing ? kRefused : kOk;
}

}  // namespace

void add_track(Commands& commands) {
  auto arguments = std::make_shared<TrackArguments>();
  CLI::App* command = commands.add(
      "track", "Make tables synced ones",
      "Rows that are there already are included. From then on every write is captured, whatever program makes it.",
      "rejoin track app.db todos lists\nrejoin track app.db --all");
  command->add_option("FILE", arguments->file, "The SQLite database")->required();
  command->add_option("TABLE", arguments->tables, "The tables; each needs a primary key");
  command->add_flag("--all", arguments->all, "All tables that can be synced");
  command->add_flag("--allow-integer-key", arguments->allow_integer_key,
                    "Accept INTEGER PRIMARY KEY, although two devices can give the same number to different rows");
  command->add_flag("--forget-deleted", arguments->forget_deleted,
                    "Don't keep the values of deleted rows: smaller, but no restore");
  command
      ->add_option("--former-name", arguments->former_names,
                   "What the table was called in an earlier version of the application")
      ->expected(1);
  command
      ->add_option("--former-column", arguments->former_columns,
                   "A column and what it was called before, like due_on=due")
      ->expected(1);
  commands.on_run(command,
                  [arguments](Output& output) { return in_file(arguments->file, run_track(*arguments, output)); });
}

}  // namespace rejoin::cli
