// rejoin status: what is tracked, where it syncs to, what waits.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "cli/command.h"
#include "cli/not_synced.h"
#include "cli/open.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "sqlite/query.h"

namespace rejoin::cli {
namespace {

namespace json = boost::json;

struct StatusArguments {
  std::string file;
  bool rows = false;
};

std::string text_or(const json::value& value, const std::string& otherwise) {
  return value.is_null() ? otherwise : printable(value.as_string());
}

// What stands in a list of rows with reasons, a few of them.
Status add_reasons(sqlite::Database& database, const std::string& table, const std::string& server, Output& output) {
  return sqlite::query(database.handle(),
                       "SELECT table_name, key, reason, " + server + " FROM " + table + " ORDER BY rowid DESC LIMIT 5",
                       {}, [&](sqlite::QueryRow row) {
                         output.line("            " + printable(row[0].bytes) + " " + printable(row[1].bytes) + ": " +
                                     printable(row[2].bytes));
                         if (row[3].type == crdt::ValueType::text)
                           output.line("              the server has " +
                                       (row[3].bytes == "null" ? std::string("none") : printable(row[3].bytes)));
                         return true;
                       });
}

Status tell(const std::string& file, const json::object& status, const json::object& counts, sqlite::Database& database,
            Output& output) {
  auto label = [&](const char* name) { return paint(output.color(), Color::bold, name); };
  if (status.at("site").is_null()) {
    output.line("nothing is tracked in " + file);
    output.hint("make its tables synced ones: rejoin track " + shell_word(file) + " --all");
    return {};
  }
  std::string tables;
  for (const json::value& name : status.at("tables").as_array()) {
    std::string shown = printable(name.as_string());
    if (const json::value* rows = counts.if_contains(name.as_string()))
      shown += " (" + counted(rows->to_number<uint64_t>(), "row") + ")";
    tables += (tables.empty() ? "" : ", ") + shown;
  }
  auto number = [&](const char* name) { return status.at(name).to_number<uint64_t>(); };
  output.line(label("replica") + "     " + std::string(status.at("site").as_string()));
  output.line(label("tables") + "      " + (tables.empty() ? "none" : tables));
  if (const json::value* ended = status.if_contains("not_synced"))
    for (const json::value& table : ended->as_array())
      output.line(label("not synced") + "  " +
                  paint(output.color(), Color::red,
                        not_synced_text(std::string(table.at("table").as_string()),
                                        table.at("unsent").to_number<uint64_t>(), file)));
  output.line(label("position") + "    " + count_text(number("seq")));
  output.line(label("server") + "      " + text_or(status.at("url"), "none"));
  if (!status.at("url").is_null()) {
    output.line(label("last sync") + "   " + text_or(status.at("last_sync"), "never"));
    if (!status.at("last_error").is_null())
      output.line(label("last error") + "  " +
                  paint(output.color(), Color::red, printable(status.at("last_error").as_string())));
    output.line(label("so far") + "      " + counted(number("pushed"), "row") + " sent, " +
                count_text(number("pulled")) + " received");
    output.line(label("pending") + "     " +
                (number("pending") == 0 ? "nothing" : counted(number("pending"), "write") + " to send"));
  }
  output.line(label("rejected") + "    " + (number("rejected") == 0 ? "nothing" : counted(number("rejected"), "row")));
  if (number("rejected") > 0) REJOIN_TRY(add_reasons(database, "rejoin_rejections", "server", output));
  output.line(label("parked") + "      " + (number("parked") == 0 ? "nothing" : counted(number("parked"), "row")));
  if (number("parked") > 0) REJOIN_TRY(add_reasons(database, "rejoin_parked", "NULL", output));
  return {};
}

Result<int> run_status(const StatusArguments& arguments, Output& output) {
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> database, open_database(arguments.file, OpenMode::read));
  REJOIN_ASSIGN(std::string report, sqlite::status_json(database->replica()));
  boost::system::error_code error;
  json::value parsed = json::parse(report, error);
  if (error) return fail(Code::internal, "the status is not JSON; please report this");
  json::object status = parsed.as_object(), counts;
  if (arguments.rows)
    for (const json::value& name : status.at("tables").as_array()) {
      REJOIN_ASSIGN(counts[name.as_string()], count_rows(*database, std::string(name.as_string())));
    }
  if (output.json()) {
    status["file"] = arguments.file;
    if (arguments.rows) status["row_counts"] = counts;
    output.document(status);
    return kOk;
  }
  REJOIN_TRY(tell(arguments.file, status, counts, *database, output));
  return kOk;
}

}  // namespace

void add_status(Commands& commands) {
  auto arguments = std::make_shared<StatusArguments>();
  CLI::App* command =
      commands.add("status", "Show what is tracked, where it syncs to, and what waits", "", "rejoin status app.db");
  command->add_option("FILE", arguments->file, "The SQLite database")->required();
  command->add_flag("--rows", arguments->rows, "Count the rows of every table");
  commands.on_run(command,
                  [arguments](Output& output) { return in_file(arguments->file, run_status(*arguments, output)); });
}

}  // namespace rejoin::cli
