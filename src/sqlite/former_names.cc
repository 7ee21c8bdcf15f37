#include "sqlite/former_names.h"

#include <optional>

#include "sqlite/key_before.h"
#include "sqlite/parked.h"

namespace rejoin::sqlite {
namespace {

bool is_former(const Table& table, int64_t column, const std::string& name) {
  for (const FormerName& f : table.former)
    if (f.column == column && same_name(f.name, name)) return true;
  return false;
}

// Its id, or -1 - i for the i-th of the key.
std::optional<int64_t> number_of(const Table& table, const std::string& column) {
  for (size_t i = 0; i < table.key.size(); ++i)
    if (same_name(table.key[i].name, column)) return -1 - static_cast<int64_t>(i);
  for (size_t i = 0; i < table.columns.size(); ++i)
    if (table.columns[i].present && same_name(table.columns[i].name, column)) return static_cast<int64_t>(i);
  return std::nullopt;
}

Status note(Context& ctx, const Table& table, std::optional<int64_t> column, const std::string& name) {
  // A name leads to one place.
  const std::string of_columns = " AND tbl=?2 AND col>" + std::to_string(kKeyBefore);
  REJOIN_ASSIGN(Statement forget, prepare(ctx.db, "DELETE FROM main.rejoin_former WHERE name=?1" +
                                                      (column ? of_columns : std::string(" AND col IS NULL"))));
  forget.bind_text(1, name);
  if (column) forget.bind(2, static_cast<int64_t>(table.id));
  REJOIN_TRY(forget.run("noting a former name"));
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, "INSERT INTO main.rejoin_former(tbl, col, name) VALUES(?1, ?2, ?3)"));
  s.bind(1, static_cast<int64_t>(table.id));
  if (column)
    s.bind(2, *column);
  else
    s.bind_null(2);
  s.bind_text(3, name);
  return s.run("noting a former name");
}

}  // namespace

Status note_former_names(Work& work, uint64_t id, const TrackOptions& options) {
  Context& ctx = work.ctx();
  const Table* table = ctx.catalog.find(id);
  if (!table) return fail(Code::internal, "a table that is tracked is not there");
  bool news = false;
  for (const std::string& name : options.former_names) {
    if (same_name(name, table->name)) continue;
    if (ctx.catalog.find(name))
      return fail(Code::bad_argument, "\"" + name + "\" cannot be a former name of table \"" + table->name +
                                          "\": a synced table is called so here; drop or untrack it first");
    bool known = false;
    for (const std::string& former : table->former_names) known |= same_name(former, name);
    if (known) continue;
    REJOIN_TRY(note(ctx, *table, std::nullopt, name));
    news = true;
  }
  for (const auto& [column, name] : options.former_columns) {
    const std::optional<int64_t> number = number_of(*table, column);
    if (!number)
      return fail(Code::bad_argument, "table \"" + table->name + "\" has no column \"" + column +
                                          "\" that could have been called \"" + name +
                                          "\"; former_columns maps the name of now to those of before");
    if (same_name(column, name) || is_former(*table, *number, name)) continue;
    if (number_of(*table, name))
      return fail(Code::bad_argument, "\"" + name + "\" cannot be a former name of \"" + table->name + "." + column +
                                          "\": the table has a column that is called so");
    REJOIN_TRY(note(ctx, *table, number, name));
    news = true;
  }
  if (!news) return {};
  ctx.catalog_main = -1;
  REJOIN_TRY(refresh_catalog(ctx));
  return replay_parked_of(work, id);
}

}  // namespace rejoin::sqlite
