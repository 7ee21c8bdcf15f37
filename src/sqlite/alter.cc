#include "sqlite/alter.h"

#include <algorithm>

#include "sqlite/alter_session.h"
#include "sqlite/alter_sql.h"
#include "sqlite/columns.h"
#include "sqlite/fold.h"
#include "sqlite/parked.h"
#include "sqlite/track.h"
#include "sqlite/triggers.h"
#include "sqlite/visibility.h"

namespace rejoin::sqlite {
namespace {

// Runs the user's statement.
Status run_sql(Context& ctx, const std::string& sql) {
  ctx.statements.clear();  // a statement on a table keeps it from being altered
  Status done = exec(ctx.db, sql);
  if (done.ok() || done.error().code != Code::internal) return done;
  const std::string why = sqlite3_errmsg(ctx.db);
  // SQLite tests the whole schema.
  const bool of_another = why.starts_with("error in ");
  return fail(Code::bad_argument, "SQLite refuses \"" + sql.substr(0, 200) + "\": " + why + "; nothing was changed" +
                                      (of_another ? ". Mend or drop what it names first, or use a connection that has "
                                                    "the functions and collations which that needs"
                                                  : ""));
}

// SQLite looks for names that say no database among the temporary ones first.
Status check_not_temporary(Context& ctx, const AlterSql& wanted) {
  if (wanted.qualified) return {};
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, "SELECT type FROM sqlite_temp_schema WHERE name=?1 COLLATE NOCASE"));
  s.bind_text(1, wanted.name);
  REJOIN_ASSIGN(const bool temporary, s.step());
  if (!temporary) return {};
  return fail(Code::bad_argument, "this connection has a temporary " + std::string(s.text(0)) + " \"" + wanted.name +
                                      "\", which SQLite would take instead; drop it, or write main." +
                                      (wanted.kind == AlterSql::Kind::create_index ? "index" : quote(wanted.name)) +
                                      " in the statement");
}

Result<std::string> table_of_index(Context& ctx, const std::string& index) {
  REJOIN_ASSIGN(Statement s, prepare(ctx.db,
                                     "SELECT tbl_name FROM main.sqlite_schema WHERE type='index' AND name=?1 "
                                     "COLLATE NOCASE"));
  s.bind_text(1, index);
  REJOIN_ASSIGN(bool row, s.step());
  if (!row) return fail(Code::not_found, "no such index: " + index);
  return std::string(s.text(0));
}

// All replicas must read the same from rows that nobody wrote the new columns of.
Status check_defaults(Context& ctx, const Table& table) {
  REJOIN_ASSIGN(const Table declared, describe_table(ctx.db, table.name));
  for (const Column& c : declared.columns) {
    const auto same = [&](const std::string& name) { return same_name(name, c.name); };
    if (c.literal_default || c.default_text.empty() ||
        std::none_of(table.unannounced.begin(), table.unannounced.end(), same))
      continue;
    return fail(Code::bad_argument, "column \"" + c.name + "\" of table \"" + table.name +
                                        "\" cannot have the default " + c.default_text +
                                        ", which replicas may read differently; write it as a literal of the column's "
                                        "type, such as 'text' or 1.5");
  }
  return {};
}

// The statement has been run; what was it? A table keeps its root page and its columns their order.
Status follow(Work& work, const Table& before, const std::vector<std::string>& columns_before, int64_t root) {
  Context& ctx = work.ctx();
  std::string name;
  {
    REJOIN_ASSIGN(Statement s,
                  prepare(ctx.db, "SELECT name FROM main.sqlite_schema WHERE type='table' AND rootpage=?1"));
    s.bind(1, root);
    REJOIN_ASSIGN(bool row, s.step());
    if (!row) return fail(Code::internal, "table \"" + before.name + "\" cannot be found after it was altered");
    name = s.text(0);
  }
  if (name != before.name) return rename_tracked(work, {{before.id, before.name, name}});

  REJOIN_ASSIGN(const std::vector<std::string> columns, declared_columns(ctx, name, true));
  if (columns.size() == columns_before.size()) {
    std::vector<RenamedColumn> renamed;
    for (size_t i = 0; i < columns.size(); ++i) {
      const std::string& from = columns_before[i];
      if (from == columns[i]) continue;
      for (size_t k = 0; k < before.key.size(); ++k)
        if (same_name(before.key[k].name, from)) renamed.push_back({-1 - static_cast<int64_t>(k), from, columns[i]});
      for (size_t c = 0; c < before.columns.size(); ++c)
        if (before.columns[c].present && same_name(before.columns[c].name, from))
          renamed.push_back({static_cast<int64_t>(c), from, columns[i]});
    }
    REJOIN_TRY(rename_columns(ctx, before, renamed));
  } else if (columns.size() < columns_before.size()) {
    for (uint32_t c = 0; c < before.columns.size(); ++c) {
      const auto here = [&](const std::string& column) { return same_name(column, before.columns[c].name); };
      if (before.columns[c].present && std::none_of(columns.begin(), columns.end(), here))
        REJOIN_TRY(drop_column(ctx, before, c));
    }
  } else {
    // Generated columns are not ours to carry.
    REJOIN_TRY(refresh_catalog(ctx));
    if (const Table* now = ctx.catalog.find(before.id)) {
      REJOIN_TRY(check_defaults(ctx, *now));
      REJOIN_TRY(add_columns(ctx, before, now->unannounced));
    }
  }
  return renew_triggers(ctx, before.id);
}

Status alter_table(Work& work, const Table& before, const std::string& sql) {
  Context& ctx = work.ctx();
  REJOIN_TRY(fold(work));
  REJOIN_ASSIGN(const std::vector<std::string> columns, declared_columns(ctx, before.name, true));
  REJOIN_ASSIGN(const auto root,
                query_int(ctx.db, "SELECT rootpage FROM main.sqlite_schema WHERE type='table' AND name=" +
                                      quote_text(before.name) + " COLLATE NOCASE"));
  // They name the columns, which would keep SQLite from dropping one. Nobody else writes before they are back.
  REJOIN_TRY(drop_triggers(ctx.db, before.id));
  REJOIN_TRY(run_sql(ctx, sql));
  return follow(work, before, columns, root.value_or(0));
}

}  // namespace

Status alter(Context& ctx, const std::string& sql) {
  REJOIN_ASSIGN(AlterSql wanted, read_alter_sql(sql));
  const Altering inside(ctx);
  REJOIN_ASSIGN(Work work, Work::write(ctx));
  REJOIN_TRY(check_not_temporary(ctx, wanted));
  if (wanted.kind == AlterSql::Kind::drop_index) {
    REJOIN_ASSIGN(wanted.name, table_of_index(ctx, wanted.name));
  }
  REJOIN_ASSIGN(Table * table, tracked_table(ctx, wanted.name));
  const Table before = *table;
  REJOIN_ASSIGN(const bool begun, is_being_altered(ctx, before.name));
  if (begun) {
    // What it does is found out when all is done.
    REJOIN_TRY(run_sql(ctx, sql));
    return work.commit();
  }
  const bool drops = wanted.kind == AlterSql::Kind::drop_index;
  // A changed schema makes SQLite prepare ROLLBACK once more.
  if (!drops) REJOIN_TRY(work.guard());
  if (wanted.kind == AlterSql::Kind::alter_table) {
    REJOIN_TRY(alter_table(work, before, sql));
  } else {
    REJOIN_TRY(run_sql(ctx, sql));
    if (drops) REJOIN_TRY(work.guard());
    REJOIN_TRY(renew_triggers(ctx, before.id));  // they know the UNIQUE indexes
  }
  const Table* now = ctx.catalog.find(before.id);
  if (!now) return fail(Code::internal, "table \"" + before.name + "\" is not tracked any more after it was altered");
  TrackOptions options;
  options.allow_integer_key = now->allow_integer_key;
  REJOIN_TRY(check_trackable(ctx, *now, options));
  REJOIN_TRY(replay_parked_of(work, before.id));
  REJOIN_TRY(settle_all_hidden(work));
  return work.commit();
}

Status add_declared_columns(Work& work, uint64_t id, const std::vector<std::string>& ddl) {
  Context& ctx = work.ctx();
  Table* table = ctx.catalog.find(id);
  if (!table) return fail(Code::internal, "a table that gets columns is not tracked");
  const Table before = *table;
  ctx.statements.clear();
  for (const std::string& column : ddl)
    REJOIN_TRY(exec(ctx.db, "ALTER TABLE " + before.quoted() + " ADD COLUMN " + column));
  ctx.catalog_main = -1;
  REJOIN_TRY(refresh_catalog(ctx));
  if (const Table* now = ctx.catalog.find(id)) REJOIN_TRY(add_columns(ctx, before, now->unannounced));
  REJOIN_TRY(renew_triggers(ctx, id));
  return replay_parked(work, before.name);
}

}  // namespace rejoin::sqlite
