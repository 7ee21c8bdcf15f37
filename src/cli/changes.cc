// rejoin changes: the newest version of every column, in readable form.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "cli/command.h"
#include "cli/open.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "crdt/print.h"
#include "crdt/version.h"
#include "sqlite/query.h"

namespace rejoin::cli {
namespace {

struct Arguments {
  std::string file, table;
  int64_t since = 0;
  uint64_t limit = 100;
};

std::string text_of(const crdt::ValueRef& value) {
  return value.type == crdt::ValueType::text   ? std::string(value.bytes)
         : value.type == crdt::ValueType::null ? ""
                                               : crdt::value_json(value);
}

// Text as it is, a blob as x'0aff', NULL by its name.
std::string shown_value(const crdt::ValueRef& value) {
  if (value.type == crdt::ValueType::null) return "NULL";
  if (value.type == crdt::ValueType::blob) return "x'" + to_hex(value.bytes) + "'";
  return printable(text_of(value));
}

// Rows that were there when tracking began have a stamp of 1 and no time of their own.
std::string time_text(const crdt::ValueRef& time, const crdt::ValueRef& hlc) {
  return hlc.type == crdt::ValueType::integer && hlc.integer <= static_cast<int64_t>(crdt::kBeforeTrackingHlc)
             ? "before tracking"
             : text_of(time);
}

boost::json::value json_of(const crdt::ValueRef& value) { return boost::json::parse(crdt::value_json(value)); }

Result<int> run_changes(const Arguments& arguments, Output& output) {
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> database, open_database(arguments.file, OpenMode::read));
  crdt::ValueRef table;
  std::string name;
  if (!arguments.table.empty()) {
    REJOIN_ASSIGN(sqlite::TableInfo info, find_tracked(*database, arguments.file, arguments.table));
    name = info.name;
    table = crdt::ValueRef::of_text(name);
  }
  // One more than asked for tells whether there is more.
  const crdt::ValueRef parameters[] = {crdt::ValueRef::of_integer(arguments.since), table,
                                       crdt::ValueRef::of_integer(static_cast<int64_t>(arguments.limit) + 1)};
  TextTable shown({"SEQ", "TIME", "SITE", "TABLE", "KEY", "COLUMN", "VALUE"});
  shown.align_right(0);
  uint64_t rows = 0;
  int64_t last_seq = 0;
  auto add = [&](sqlite::QueryRow row) {
    if (++rows > arguments.limit) return false;
    last_seq = row[0].integer;
    bool alive = row[7].integer != 0, whole_row = row[5].type == crdt::ValueType::null;
    if (output.json()) {
      output.document({{"seq", json_of(row[0])},
                       {"time", json_of(row[1])},
                       {"hlc", json_of(row[8])},
                       {"site", json_of(row[2])},
                       {"table", json_of(row[3])},
                       {"key", boost::json::parse(row[4].bytes)},
                       {"column", json_of(row[5])},
                       {"value", json_of(row[6])},
                       {"alive", alive}});
    } else {
      std::string value = whole_row ? (alive ? "" : "deleted") : shown_value(row[6]) + (alive ? "" : " (deleted)");
      shown.add({text_of(row[0]), time_text(row[1], row[8]), text_of(row[2]).substr(0, 8), printable(text_of(row[3])),
                 printable(text_of(row[4])), whole_row ? "(row)" : printable(text_of(row[5])), value},
                alive ? Color::none : Color::dim);
    }
    return true;
  };
  REJOIN_TRY(sqlite::query(database->handle(),
                           "SELECT seq, time, site, table_name, key, column_name, value, alive, hlc FROM rejoin_changes"
                           " WHERE (?1 = 0 OR seq > ?1) AND (?2 IS NULL OR table_name = ?2) ORDER BY seq, hlc LIMIT ?3",
                           parameters, add));
  if (output.json()) return kOk;
  if (shown.empty()) {
    output.line(arguments.since > 0 ? "nothing after " + std::to_string(arguments.since) : "no changes");
    return kOk;
  }
  output.text(shown.text(output.columns(), output.color()));
  if (rows > arguments.limit)
    output.hint("there is more: --since " + std::to_string(last_seq) + ", or a larger --limit");
  return kOk;
}

}  // namespace

void add_changes(Commands& commands) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = commands.add("changes", "List what changed, column by column",
                                   "The newest version of every column, whoever wrote it, in the order of arrival. "
                                   "--json prints one object per line.",
                                   "rejoin changes app.db\nrejoin changes app.db todos --since 1200 --limit 20");
  command->add_option("FILE", arguments->file, "The SQLite database")->required();
  command->add_option("TABLE", arguments->table, "Only this table");
  command->add_option("--since", arguments->since, "Only what came after this position (the SEQ column)")
      ->type_name("SEQ");
  command->add_option("--limit", arguments->limit, "At most this many lines (100 unless told)")->type_name("N");
  commands.on_run(command, [arguments](Output& output) { return run_changes(*arguments, output); });
}

}  // namespace rejoin::cli
