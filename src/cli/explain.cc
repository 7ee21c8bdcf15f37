// rejoin explain: why a row is as it is.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "cli/command.h"
#include "cli/key_args.h"
#include "cli/open.h"
#include "cli/terminal.h"
#include "cli/units.h"

namespace rejoin::cli {
namespace {

namespace json = boost::json;

std::string shown(const json::value& value) {
  if (value.is_null()) return "NULL";
  if (value.is_string()) return printable(value.as_string());
  if (const json::object* object = value.if_object())
    if (const json::value* hex = object->if_contains("blob")) return "x'" + std::string(hex->as_string()) + "'";
  return json::serialize(value);
}

// {"time", "site", "mine"} as "2026-… by 5c1e0a77 (this replica)".
std::string stamp(const json::value& written) {
  const json::object* object = written.if_object();
  if (!object) return "never written";
  const json::value& time = object->at("time");
  std::string when = time.is_null() ? "before tracking" : std::string(time.as_string());
  if (time.is_null()) return when;
  return when +
         (object->at("mine").as_bool() ? " here" : " by " + std::string(object->at("site").as_string()).substr(0, 8));
}

std::string text(const json::object& told, const Output& output) {
  bool alive = told.at("alive").as_bool(), visible = told.at("visible").as_bool();
  std::string state = !alive ? "deleted" : visible ? "alive" : "alive, but not shown";
  std::string out = paint(output.color(), Color::bold,
                          printable(told.at("table").as_string()) + " " + printable(json::serialize(told.at("key")))) +
                    ": " + paint(output.color(), alive ? Color::green : Color::red, state) + "\n";
  out += "  inserted  " + stamp(told.at("born")) + "\n";
  if (!alive) out += "  deleted   " + stamp(told.at("liveness")) + "\n";
  if (const json::value* parked = told.if_contains("parked"))
    for (const json::value& reason : parked->as_array()) out += "  parked    " + printable(reason.as_string()) + "\n";
  TextTable table({"COLUMN", "VALUE", "WRITTEN", "WON AGAINST"});
  for (const auto& [name, told_column] : told.at("columns").as_object()) {
    const json::object& column = told_column.as_object();
    std::vector<std::string> losers;
    if (const json::value* lost = column.if_contains("won_against"))
      for (const json::value& loser : lost->as_array())
        losers.push_back(shown(loser.at("value")) + ", " + stamp(loser.at("written")));
    table.add(
        {printable(name), shown(column.at("value")), stamp(column.at("written")), losers.empty() ? "" : losers[0]});
    for (size_t i = 1; i < losers.size(); ++i) table.add({"", "", "", losers[i]});
  }
  if (!table.empty()) out += "\n" + table.text(output.columns(), output.color());
  return out;
}

Result<int> run_explain(const KeyArguments& arguments, Output& output) {
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> database, open_database(arguments.file, OpenMode::read));
  REJOIN_ASSIGN(sqlite::TableInfo table, find_tracked(*database, arguments.file, arguments.table));
  REJOIN_ASSIGN(Key key, parse_key(*database, table, arguments));
  REJOIN_ASSIGN(std::string report, database->replica().explain(table.name, key.values));
  if (output.json()) {
    output.line(report);
    return kOk;
  }
  boost::system::error_code error;
  json::value told = json::parse(report, error);
  if (error) return fail(Code::internal, "the explanation is not JSON; please report this");
  output.text(text(told.as_object(), output));
  if (!told.at("alive").as_bool()) {
    std::string command = "rejoin restore " + shell_word(arguments.file) + " " + shell_word(table.name);
    for (const std::string& word : arguments.words) command += " " + shell_word(word);
    output.hint("to bring it back: " + command + (arguments.blob ? " --blob" : arguments.text ? " --text" : ""));
  }
  return kOk;
}

}  // namespace

void add_explain(Commands& commands) {
  auto arguments = std::make_shared<KeyArguments>();
  CLI::App* command = commands.add(
      "explain", "Tell why a row is as it is",
      "Every column's value, who wrote it, when, and what it won against. A key column's value is read by the\n"
      "column's type; x'0aff' is a blob. Put -- before a negative number.",
      "rejoin explain app.db todos 01936f5e-8a1c-7cc2-b1d0-4b1f5f1c2f6a\nrejoin explain app.db stops DE 4");
  add_key_options(*command, *arguments);
  commands.on_run(command,
                  [arguments](Output& output) { return in_file(arguments->file, run_explain(*arguments, output)); });
}

}  // namespace rejoin::cli
