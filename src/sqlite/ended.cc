#include "sqlite/ended.h"

#include <algorithm>

#include "crdt/record.h"
#include "sqlite/columns.h"
#include "sqlite/layout.h"

namespace rejoin::sqlite {
namespace {

// No table of the layout: files in which no tracking has ended do without, and older builds pass it over.
constexpr const char* kEndedTable =
    "CREATE TABLE IF NOT EXISTS main.rejoin_ended(name TEXT PRIMARY KEY COLLATE NOCASE, cause INTEGER NOT NULL, unsent "
    "INTEGER, born INTEGER NOT NULL, columns BLOB NOT NULL) WITHOUT ROWID";

Result<bool> table_there(Context& ctx, const std::string& name) {
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, "SELECT 1 FROM main.sqlite_schema WHERE type='table' AND name=?1"));
  s.bind_text(1, name);
  return s.step("looking for a table");
}

Result<Bytes> encoded_columns(Context& ctx, uint64_t id, const std::string& name) {
  Bytes out;
  REJOIN_ASSIGN(const std::vector<std::string> key, key_columns(ctx, shadow_table(name)));
  for (const std::string& column : key) put_bytes(out, column);
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, "SELECT name FROM main.rejoin_column WHERE tbl=?1 AND name<>''"));
  s.bind(1, static_cast<int64_t>(id));
  for (;;) {
    REJOIN_ASSIGN(const bool row, s.step("reading a table's columns"));
    if (!row) return out;
    put_bytes(out, s.text(0));
  }
}

// 0 where the records are gone; one that is damaged says nothing.
Result<crdt::Hlc> newest_birth(Context& ctx, const std::string& table) {
  REJOIN_ASSIGN(const bool there, table_there(ctx, records_table(table)));
  if (!there) return crdt::Hlc{0};
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, "SELECT rec FROM main." + quote(records_table(table))));
  crdt::Hlc newest = 0;
  crdt::RowRecord record;
  for (;;) {
    REJOIN_ASSIGN(const bool row, s.step("reading when a table's rows were inserted"));
    if (!row) return newest;
    record.reset();
    if (crdt::decode_record(s.blob(0), ctx.sites.size(), record)) newest = std::max(newest, record.birth.hlc);
  }
}

// What the server that this file syncs with does not have of it; nothing without one.
Result<std::optional<int64_t>> unsent_of(Context& ctx, uint64_t id) {
  REJOIN_ASSIGN(auto pushed, query_int(ctx.db,
                                       "SELECT pushed FROM main.rejoin_peer WHERE url NOT GLOB 'replica:*' ORDER BY "
                                       "is_default DESC LIMIT 1"));
  if (!pushed) return pushed;
  return query_int(ctx.db, "SELECT count(*) FROM main.rejoin_log WHERE seq>" + std::to_string(*pushed) +
                               " AND tbl=" + std::to_string(id) + " AND op<=" + std::to_string(kSuspect));
}

std::string message_of(const std::string& table, EndedBy by, int64_t unsent) {
  std::string out = "table \"" + table + "\" is not synced: the one that was synced under this name was " +
                    (by == EndedBy::drop ? "dropped, as when a migration builds a table anew" : "renamed");
  if (unsent > 0)
    out += ", with " + std::to_string(unsent) + (unsent == 1 ? " write" : " writes") + " that no server had";
  return out + ". Call rejoin_track(" + quote_text(table) + ") to sync it, or rejoin_untrack(" + quote_text(table) +
         ") if it is not to be synced";
}

}  // namespace

Status note_ended(Context& ctx, uint64_t id, const std::string& name, EndedBy by) {
  REJOIN_TRY(exec(ctx.db, kEndedTable));
  REJOIN_ASSIGN(const Bytes columns, encoded_columns(ctx, id, name));
  crdt::Hlc born = 0;
  std::optional<int64_t> unsent;
  if (by != EndedBy::rename) {  // its rows go on under the other name
    REJOIN_ASSIGN(born, newest_birth(ctx, name));
    REJOIN_ASSIGN(unsent, unsent_of(ctx, id));
    REJOIN_TRY(exec(ctx.db, "UPDATE main.rejoin_ended SET born=max(born, " + std::to_string(born) +
                                ") WHERE name IN (SELECT name FROM main.rejoin_former WHERE col IS NULL AND tbl=" +
                                std::to_string(id) + ")"));
  }
  REJOIN_ASSIGN(Statement s, prepare(ctx.db,
                                     "INSERT OR REPLACE INTO main.rejoin_ended(name, cause, unsent, born, columns) "
                                     "VALUES(?1, ?2, ?3, ?4, ?5)"));
  s.bind_text(1, name);
  s.bind(2, static_cast<int64_t>(by));
  if (unsent)
    s.bind(3, *unsent);
  else
    s.bind_null(3);
  s.bind(4, static_cast<int64_t>(born));
  s.bind_blob(5, columns);
  return s.run("noting a table that is not synced any more");
}

Status forget_ended(Context& ctx, const std::string& name) {
  REJOIN_ASSIGN(const bool any, table_there(ctx, "rejoin_ended"));
  if (!any) return {};
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, "DELETE FROM main.rejoin_ended WHERE name=?1"));
  s.bind_text(1, name);
  return s.run("forgetting that a table was not synced");
}

Result<bool> accept_ended(Context& ctx, const std::string& name) {
  REJOIN_ASSIGN(const bool any, table_there(ctx, "rejoin_ended"));
  if (!any) return false;
  REJOIN_ASSIGN(Statement s, prepare(ctx.db,
                                     "UPDATE main.rejoin_ended SET cause=0 WHERE name=?1 AND NOT EXISTS (SELECT 1 FROM "
                                     "main.rejoin_table WHERE name=?1) RETURNING 1"));
  s.bind_text(1, name);
  REJOIN_ASSIGN(const bool was, s.step("noting that a table is not to be synced"));
  if (was) REJOIN_TRY(s.run("noting that a table is not to be synced"));
  return was;
}

Result<std::optional<FormerLife>> former_life(Context& ctx, const std::string& name) {
  REJOIN_ASSIGN(const bool any, table_there(ctx, "rejoin_ended"));
  if (!any) return std::optional<FormerLife>();
  FormerLife out;
  {
    REJOIN_ASSIGN(Statement s, prepare(ctx.db, "SELECT born, columns FROM main.rejoin_ended WHERE name=?1"));
    s.bind_text(1, name);
    REJOIN_ASSIGN(const bool row, s.step("looking for a table that was synced before"));
    if (!row) return std::optional<FormerLife>();
    out.born = static_cast<crdt::Hlc>(s.integer(0));
    ByteReader columns(s.blob(1));
    while (columns.ok() && !columns.at_end()) out.columns.emplace_back(columns.bytes());
  }
  for (const auto& table : ctx.catalog.tables)
    if (std::any_of(table->former_names.begin(), table->former_names.end(),
                    [&](const std::string& former) { return same_name(former, name); })) {
      REJOIN_ASSIGN(const crdt::Hlc born, newest_birth(ctx, table->name));
      out.born = std::max(out.born, born);
    }
  return std::optional(std::move(out));
}

Result<std::vector<EndedTable>> ended_tables(Context& ctx) {
  std::vector<EndedTable> out;
  REJOIN_ASSIGN(const bool any, table_there(ctx, "rejoin_ended"));
  if (!any) return out;
  REJOIN_ASSIGN(Statement s, prepare(ctx.db,
                                     "SELECT s.name, e.cause, coalesce(e.unsent, 0) FROM main.rejoin_ended AS e JOIN "
                                     "main.sqlite_schema AS s ON s.type='table' AND s.name=e.name COLLATE NOCASE WHERE "
                                     "e.cause<>0 AND NOT EXISTS (SELECT 1 FROM main.rejoin_table AS t WHERE "
                                     "t.name=e.name) ORDER BY 1"));
  for (;;) {
    REJOIN_ASSIGN(const bool row, s.step("looking for tables that are not synced any more"));
    if (!row) return out;
    const std::string name(s.text(0));
    out.push_back({name, s.integer(2), message_of(name, static_cast<EndedBy>(s.integer(1)), s.integer(2))});
  }
}

}  // namespace rejoin::sqlite
