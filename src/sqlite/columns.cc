#include "sqlite/columns.h"

#include <algorithm>
#include "sqlite/key_before.h"

#include "sqlite/side_alter.h"
#include "sqlite/track.h"
#include "sqlite/triggers.h"

namespace rejoin::sqlite {
namespace {

// `sql` has the table's id as ?1, the column as ?2 and a name as ?3.
Status run(Context& ctx, const char* sql, const Table& table, int64_t column, const std::string& name) {
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, sql));
  s.bind(1, static_cast<int64_t>(table.id));
  s.bind(2, column);
  s.bind_text(3, name);
  return s.run("noting a table's columns");
}

// A name that is a column's now is no other's former one any more.
Status forget_former(Context& ctx, const Table& table, const std::string& name) {
  return run(ctx, "DELETE FROM main.rejoin_former WHERE tbl=?1 AND col>?2 AND name=?3", table, kKeyBefore, name);
}

Result<std::vector<std::string>> first_texts(Statement& s) {
  std::vector<std::string> out;
  for (;;) {
    REJOIN_ASSIGN(bool row, s.step());
    if (!row) break;
    out.emplace_back(s.text(0));
  }
  return out;
}

}  // namespace

Result<std::vector<std::string>> declared_columns(Context& ctx, const std::string& table, bool generated_too) {
  REJOIN_ASSIGN(Statement s,
                prepare(ctx.db, "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden=0 OR ?2 ORDER BY cid"));
  s.bind_text(1, table);
  s.bind(2, static_cast<int64_t>(generated_too));
  return first_texts(s);
}

Result<std::vector<std::string>> key_columns(Context& ctx, const std::string& table) {
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE pk>0 ORDER BY pk"));
  s.bind_text(1, table);
  return first_texts(s);
}

Status rename_columns(Context& ctx, const Table& table, const std::vector<RenamedColumn>& renamed) {
  // By way of names that nobody has, where one takes another's.
  const bool detour = std::any_of(renamed.begin(), renamed.end(), [&](const RenamedColumn& r) {
    return std::any_of(renamed.begin(), renamed.end(),
                       [&](const RenamedColumn& other) { return &r != &other && same_name(r.to, other.from); });
  });
  const auto on_the_way = [&](size_t i) { return quote("rejoin_moving_" + std::to_string(i)); };
  for (const std::string& side : {table.shadow(), table.gone()}) {
    const std::string rename = "ALTER TABLE " + side + " RENAME COLUMN ";
    for (size_t i = 0; i < renamed.size() && detour; ++i)
      REJOIN_TRY(alter_side_table(ctx.db, rename + quote(renamed[i].from) + " TO " + on_the_way(i)));
    for (size_t i = 0; i < renamed.size(); ++i)
      REJOIN_TRY(alter_side_table(
          ctx.db, rename + (detour ? on_the_way(i) : quote(renamed[i].from)) + " TO " + quote(renamed[i].to)));
    REJOIN_TRY(check_side_table(ctx.db, side));
  }
  for (const RenamedColumn& r : renamed)
    if (r.column >= 0)
      REJOIN_TRY(run(ctx, "UPDATE main.rejoin_column SET name=?3 WHERE tbl=?1 AND id=?2", table, r.column, r.to));
  for (const RenamedColumn& r : renamed) {
    if (same_name(r.from, r.to)) continue;
    REJOIN_TRY(forget_former(ctx, table, r.from));
    REJOIN_TRY(run(ctx, "INSERT INTO main.rejoin_former(tbl, col, name) VALUES(?1, ?2, ?3)", table, r.column, r.from));
  }
  for (const RenamedColumn& r : renamed) REJOIN_TRY(forget_former(ctx, table, r.to));
  return {};
}

Status drop_column(Context& ctx, const Table& table, uint32_t column) {
  const std::string name = table.columns[column].name;
  for (const std::string& side : {table.shadow(), table.gone()}) {
    REJOIN_TRY(alter_side_table(ctx.db, "ALTER TABLE " + side + " DROP COLUMN " + quote(name)));
    REJOIN_TRY(check_side_table(ctx.db, side));
  }
  REJOIN_TRY(run(ctx, "DELETE FROM main.rejoin_lost WHERE tbl=?1 AND col=?2 AND ?3=?3", table, column, name));
  // No column has an empty name, so none that is added later gets this id.
  REJOIN_TRY(run(ctx, "UPDATE main.rejoin_column SET name=?3 WHERE tbl=?1 AND id=?2", table, column, ""));
  REJOIN_TRY(forget_former(ctx, table, name));
  return run(ctx, "INSERT INTO main.rejoin_former(tbl, col, name) VALUES(?1, ?2, ?3)", table, column, name);
}

Status add_columns(Context& ctx, const Table& table, const std::vector<std::string>& names) {
  if (names.empty()) return {};
  REJOIN_TRY(add_column_ids(ctx, table.id, names, table.columns.size()));
  for (const std::string& name : names) {
    for (const std::string& side : {table.shadow(), table.gone()})
      REJOIN_TRY(exec(ctx.db, "ALTER TABLE " + side + " ADD COLUMN " + quote(name)));
    const auto was_dropped = [&](const FormerName& f) {
      return f.column >= 0 && !table.columns[static_cast<size_t>(f.column)].present &&
             sqlite3_stricmp(f.name.c_str(), name.c_str()) == 0;
    };
    if (std::any_of(table.former.begin(), table.former.end(), was_dropped))
      REJOIN_TRY(exec(ctx.db,
                      "UPDATE main.rejoin_peer SET pull_cursor=NULL, pull_all=1 WHERE chain_token NOT NULL OR "
                      "pull_cursor NOT NULL OR site NOT NULL"));
    REJOIN_TRY(forget_former(ctx, table, name));
  }
  return {};
}

Status renew_triggers(Context& ctx, uint64_t id) {
  ctx.catalog_main = -1;
  REJOIN_TRY(refresh_catalog(ctx));
  Table* table = ctx.catalog.find(id);
  if (!table) return fail(Code::internal, "a table is gone while it is altered");
  const std::vector<std::string> triggers = create_triggers(*table);
  REJOIN_TRY(drop_triggers(ctx.db, id));
  for (const std::string& sql : triggers) REJOIN_TRY(exec(ctx.db, sql));
  return refresh_catalog(ctx);
}

}  // namespace rejoin::sqlite
