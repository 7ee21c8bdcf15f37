// rejoin doctor: looks for damage.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>

#include "cli/command.h"
#include "cli/open.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cli/units.h"

namespace rejoin::cli {
namespace {

// {"kind", "table", "key", "message"}
std::string finding_text(const boost::json::object& finding) {
  std::string where(finding.at("table").as_string());
  if (const boost::json::value* key = finding.if_contains("key")) where += " " + boost::json::serialize(*key);
  return (where.empty() ? "" : where + ": ") + std::string(finding.at("message").as_string());
}

Result<int> run_doctor(const std::string& file, Output& output) {
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> database, open_database(file, OpenMode::read));
  Progress progress("examining " + file, output.json());
  REJOIN_ASSIGN(std::string report, database->replica().doctor());
  progress.end();
  boost::system::error_code error;
  boost::json::value findings = boost::json::parse(report, error);
  if (error || !findings.is_array()) return fail(Code::internal, "the report is not a JSON array; please report this");
  // What this program cannot look at may be as sound as the rest; a table that is not synced is.
  const auto kind_of = [](const boost::json::value& finding) { return finding.as_object().at("kind").as_string(); };
  const auto told = [&](const boost::json::value& finding) -> const char* {
    return kind_of(finding) == "unchecked" ? "not checked" : kind_of(finding) == "not_synced" ? "not synced" : nullptr;
  };
  const boost::json::array& all = findings.as_array();
  const int exit = std::all_of(all.begin(), all.end(), told) ? kOk : kDamaged;
  if (output.json()) {
    output.document({{"sound", exit == kOk}, {"findings", findings}});
    return exit;
  }
  const auto unchecked = [&](const boost::json::value& finding) { return kind_of(finding) == "unchecked"; };
  if (exit == kOk)
    output.line(paint(output.color(), Color::green, "sound") +
                (std::none_of(all.begin(), all.end(), unchecked) ? ": nothing wrong in "
                                                                 : ": nothing wrong in what could be looked at of ") +
                file);
  for (const boost::json::value& finding : all) {
    const char* kind = told(finding);
    output.line((kind ? kind : paint(output.color(), Color::red, "damaged")) + ": " +
                printable(finding_text(finding.as_object())));
  }
  return exit;
}

}  // namespace

void add_doctor(Commands& commands) {
  auto file = std::make_shared<std::string>();
  CLI::App* command = commands.add(
      "doctor", "Look for damage in a database",
      "Checks the file itself, the capture triggers, and every row's record against the row. Changes nothing.",
      "rejoin doctor app.db");
  command->add_option("FILE", *file, "The SQLite database")->required();
  commands.on_run(command, [file](Output& output) { return in_file(*file, run_doctor(*file, output)); });
}

}  // namespace rejoin::cli
