// rejoin changes: the newest version of every column, in readable form.
#include <CLI/Error.hpp>
#include <CLI/Validators.hpp>
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

struct ChangesArguments {
  std::string file, table;
  uint32_t limit = 100;
  int64_t since = 0;
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

bool before_tracking(const crdt::ValueRef& hlc) {
  return hlc.type == crdt::ValueType::integer && hlc.integer <= static_cast<int64_t>(crdt::kBeforeTrackingHlc);
}

boost::json::value json_of(const crdt::ValueRef& value) { return boost::json::parse(crdt::value_json(value)); }

// ?1: since, ?2: the table, ?3: at most so many. Ascending in both cases; `total` tells whether the oldest is one too
// many.
std::string sql_of(bool newest, bool one_table) {
  std::string sql =
      "SELECT seq, time, site, table_name, key, column_name, value, alive, hlc, row_number() OVER () AS line"
      " FROM rejoin_changes WHERE ";
  sql += newest ? "?1 IS NOT NULL" : "seq > ?1";
  sql += one_table ? " AND table_name = ?2" : " AND ?2 IS NULL";
  if (!newest) return "SELECT *, 0 AS total FROM (" + sql + ") ORDER BY seq, hlc, line LIMIT ?3";
  return "SELECT *, count(*) OVER () AS total FROM (" + sql +
         " ORDER BY seq DESC, hlc DESC, line DESC LIMIT ?3) ORDER BY seq, hlc, line";
}

Result<int> run_changes(const ChangesArguments& arguments, Output& output) {
  REJOIN_ASSIGN(std::unique_ptr<sqlite::Database> database, open_database(arguments.file, OpenMode::read));
  crdt::ValueRef table;
  std::string name;
  if (!arguments.table.empty()) {
    REJOIN_ASSIGN(sqlite::TableInfo info, find_tracked(*database, arguments.file, arguments.table));
    name = info.name;
    table = crdt::ValueRef::of_text(name);
  }
  // Without a position to begin at, the newest are what matters. One more than asked for tells whether there is more.
  bool newest = arguments.since == 0;
  const crdt::ValueRef parameters[] = {crdt::ValueRef::of_integer(arguments.since), table,
                                       crdt::ValueRef::of_integer(int64_t{arguments.limit} + 1)};
  TextTable shown({"SEQ", "TIME", "SITE", "TABLE", "KEY", "COLUMN", "VALUE"});
  shown.align_right(0);
  uint64_t rows = 0;
  bool more = false;
  int64_t last_seq = 0, next_seq = 0;
  auto add = [&](sqlite::QueryRow row) {
    ++rows;
    bool surplus = newest ? rows == 1 && row[10].integer > int64_t{arguments.limit} : rows > arguments.limit;
    if (surplus) {
      more = true, next_seq = row[0].integer;
      return newest;
    }
    last_seq = row[0].integer;
    bool alive = row[7].integer != 0, whole_row = row[5].type == crdt::ValueType::null, old = before_tracking(row[8]);
    if (output.json()) {
      output.document({{"seq", json_of(row[0])},
                       {"time", old ? boost::json::value() : json_of(row[1])},
                       {"hlc", json_of(row[8])},
                       {"site", json_of(row[2])},
                       {"table", json_of(row[3])},
                       {"key", boost::json::parse(row[4].bytes)},
                       {"column", json_of(row[5])},
                       {"value", json_of(row[6])},
                       {"alive", alive}});
    } else {
      std::string value = whole_row ? (alive ? "" : "deleted") : shown_value(row[6]) + (alive ? "" : " (deleted)");
      shown.add({text_of(row[0]), old ? "before tracking" : text_of(row[1]), text_of(row[2]).substr(0, 8),
                 printable(text_of(row[3])), printable(text_of(row[4])),
                 whole_row ? "(row)" : printable(text_of(row[5])), value},
                alive ? Color::none : Color::dim);
    }
    return !output.closed();
  };
  REJOIN_TRY(sqlite::query(database->handle(), sql_of(newest, table.type != crdt::ValueType::null), parameters, add));
  if (output.json()) return kOk;
  if (shown.empty()) {
    output.line(newest ? "no changes" : "nothing after " + std::to_string(arguments.since));
    return kOk;
  }
  output.text(shown.text(output.columns(), output.color()));
  // What shares its position with the last line would be skipped by going on after it.
  if (more && newest)
    output.hint("these are the newest; for older ones: --limit N");
  else if (more)
    output.hint("there is more: " + (next_seq > last_seq ? "--since " + std::to_string(last_seq) + ", or " : "") +
                "a larger --limit");
  return kOk;
}

}  // namespace

void add_changes(Commands& commands) {
  auto arguments = std::make_shared<ChangesArguments>();
  CLI::App* command = commands.add("changes", "List what changed, column by column",
                                   "The newest version of every column, whoever wrote it, in the order of arrival: the "
                                   "latest lines, or those after --since.\n"
                                   "--json prints one object per line.",
                                   "rejoin changes app.db\nrejoin changes app.db todos --since 1200 --limit 20");
  command->add_option("FILE", arguments->file, "The SQLite database")->required();
  command->add_option("TABLE", arguments->table, "Only this table");
  command->add_option("--since", arguments->since, "Only what came after this position (the SEQ column)")
      ->type_name("SEQ")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 62));  // below what the library makes of larger ones
  command->add_option("--limit", arguments->limit, "At most this many lines (100 unless told)")
      ->type_name("N")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000'000}));
  commands.on_run(command,
                  [arguments](Output& output) { return in_file(arguments->file, run_changes(*arguments, output)); });
}

}  // namespace rejoin::cli
