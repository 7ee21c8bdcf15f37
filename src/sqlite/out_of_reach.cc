#include "sqlite/out_of_reach.h"

#include <array>

#include "sqlite/base_writer.h"
#include "sqlite/enforcement.h"

namespace rejoin::sqlite {
namespace {

// SQLite's message; empty when nothing is lacking.
Result<std::string> lacking(Context& ctx, const Table& table) {
  const std::string insert = BaseWriter(ctx, table).insert_sql();
  std::vector<std::string> all = {insert, table.constraints.missing};
  for (const ForeignKey& f : table.constraints.parents) all.insert(all.end(), {f.exists, f.children, f.orphans});
  for (const std::string& sql : all) {
    if (sql.empty()) continue;
    const Result<Statement*> kept = ctx.statement(sql);
    if (!kept.ok() && (sqlite3_errcode(ctx.db) & 0xff) == SQLITE_NOMEM) return kept.error();
    if (kept.ok() || !lacks_something(ctx.db)) continue;  // what else is wrong is told by who runs it
    const std::string message = sqlite3_errmsg(ctx.db);
    if (sql != insert || !table.app_triggers) return message;
    // A trigger may lack a collation: then the table itself can be written.
    EnforcementOff off(ctx.db, true);
    const Result<Statement> without = prepare(ctx.db, sql);
    if (without.ok()) continue;
    if ((sqlite3_errcode(ctx.db) & 0xff) == SQLITE_NOMEM) return without.error();
    if (lacks_something(ctx.db)) return message;
  }
  return std::string();
}

// No table of the layout: most files do without, and older builds pass it over.
Result<bool> any_noted(Context& ctx) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.sqlite_schema WHERE type='table' AND "
                                             "name='rejoin_out_of_reach'"));
  Use use(*s);
  return s->step("looking for tables that could not be written");
}

}  // namespace

// What SQLite says of a table's own definition. Of a trigger's functions it says "no such function".
bool lacks_something(sqlite3* db) {
  constexpr std::array<std::string_view, 3> kMessages = {
      "unknown function: ", "no such collation sequence: ", "unsafe use of "};
  if ((sqlite3_errcode(db) & 0xff) != SQLITE_ERROR) return false;
  const std::string_view message = sqlite3_errmsg(db);
  for (const std::string_view m : kMessages)
    if (message.starts_with(m)) return true;
  return false;
}

Result<const std::string*> out_of_reach(Context& ctx, const Table& table) {
  auto at = ctx.reach.find(table.id);
  if (at == ctx.reach.end()) {
    REJOIN_ASSIGN(std::string message, lacking(ctx, table));
    if (!message.empty())
      message = "the table uses what this connection lacks (" + message + "); a connection that has it will merge this";
    at = ctx.reach.emplace(table.id, std::move(message)).first;
  }
  return at->second.empty() ? nullptr : &at->second;
}

Status require_reach(Context& ctx, const Table& table) {
  REJOIN_ASSIGN(const std::string* lacks, out_of_reach(ctx, table));
  if (!lacks) return {};
  REJOIN_ASSIGN(const std::string message, lacking(ctx, table));
  return fail(Code::unsupported, "table \"" + table.name + "\" uses what this connection lacks (" + message +
                                     "), so that it cannot write to it; nothing was changed. Do this in the "
                                     "application, on a connection that has it");
}

Status note_out_of_reach(Context& ctx, const Table& table) {
  REJOIN_ASSIGN(const bool any, any_noted(ctx));
  if (!any) REJOIN_TRY(exec(ctx.db, "CREATE TABLE main.rejoin_out_of_reach(tbl INTEGER PRIMARY KEY)"));
  REJOIN_ASSIGN(Statement * s, ctx.statement("INSERT OR IGNORE INTO main.rejoin_out_of_reach(tbl) VALUES(?1)"));
  Use use(*s);
  s->bind(1, static_cast<int64_t>(table.id));
  return s->run("noting a table that cannot be written here");
}

Result<bool> is_noted_out_of_reach(Context& ctx, uint64_t table) {
  REJOIN_ASSIGN(const bool any, any_noted(ctx));
  if (!any) return false;
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.rejoin_out_of_reach WHERE tbl=?1"));
  Use use(*s);
  s->bind(1, static_cast<int64_t>(table));
  return s->step("looking for tables that could not be written");
}

Result<std::vector<uint64_t>> back_in_reach(Context& ctx) {
  std::vector<uint64_t> noted, out;
  REJOIN_ASSIGN(const bool any, any_noted(ctx));
  if (!any) return out;
  {
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT tbl FROM main.rejoin_out_of_reach ORDER BY tbl"));
    Use use(*s);
    for (;;) {
      REJOIN_ASSIGN(const bool row, s->step("looking for tables that could not be written"));
      if (!row) break;
      noted.push_back(static_cast<uint64_t>(s->integer(0)));
    }
  }
  for (const uint64_t id : noted) {
    if (const Table* table = ctx.catalog.find(id)) {
      if (ctx.stuck.contains(id)) continue;
      REJOIN_ASSIGN(const std::string* lacks, out_of_reach(ctx, *table));
      if (lacks) continue;
    }
    out.push_back(id);
  }
  return out;
}

Status forget_out_of_reach(Context& ctx, const std::vector<uint64_t>& tables) {
  for (const uint64_t id : tables) {
    if (ctx.stuck.contains(id)) continue;
    REJOIN_ASSIGN(Statement * s, ctx.statement("DELETE FROM main.rejoin_out_of_reach WHERE tbl=?1"));
    Use use(*s);
    s->bind(1, static_cast<int64_t>(id));
    REJOIN_TRY(s->run("taking up a table that could not be written"));
  }
  return {};
}

}  // namespace rejoin::sqlite
