#include "sqlite/alter_session.h"

#include <algorithm>
#include <optional>
#include <set>

#include "sqlite/altered_rows.h"
#include "sqlite/columns.h"
#include "sqlite/fold.h"
#include "sqlite/parked.h"
#include "sqlite/track.h"
#include "sqlite/triggers.h"
#include "sqlite/visibility.h"

namespace rejoin::sqlite {
namespace {

// Follows the table, and its columns, when they are renamed. The list of an UPDATE OF is all that may name columns:
// there SQLite minds none that is dropped.
std::string follower(uint64_t id) { return trigger_prefix(id) + "altering"; }

struct Begun {
  uint64_t id;
  std::string name;
};

Result<std::vector<Begun>> begun(Context& ctx) {
  REJOIN_ASSIGN(Statement s,
                prepare(ctx.db,
                        "SELECT t.id, t.name FROM main.rejoin_table AS t JOIN main.sqlite_schema AS s ON "
                        "s.type='table' AND s.name=t.name||'__rejoin_alter' COLLATE NOCASE ORDER BY t.id"));
  std::vector<Begun> out;
  for (;;) {
    REJOIN_ASSIGN(bool row, s.step());
    if (!row) break;
    out.push_back({static_cast<uint64_t>(s.integer(0)), std::string(s.text(1))});
  }
  return out;
}

Result<bool> table_exists(Context& ctx, const std::string& name) {
  REJOIN_ASSIGN(Statement s, prepare(ctx.db,
                                     "SELECT 1 FROM main.sqlite_schema WHERE type='table' AND name=?1 COLLATE "
                                     "NOCASE"));
  s.bind_text(1, name);
  return s.step();
}

// Does another tracked table go by this name now?
Result<bool> is_another(Context& ctx, uint64_t id, const std::string& name) {
  REJOIN_ASSIGN(Statement s, prepare(ctx.db,
                                     "SELECT 1 FROM main.sqlite_schema WHERE type='trigger' AND tbl_name=?1 COLLATE "
                                     "NOCASE AND name GLOB 'rejoin_capture_*' AND name NOT GLOB ?2"));
  s.bind_text(1, name);
  const std::string own = trigger_prefix(id) + "*";
  s.bind_text(2, own);
  return s.step();
}

// What the table is called now; nothing when it is gone.
Result<std::optional<std::string>> name_now(Context& ctx, const Begun& table) {
  // Built anew under its name, it is that one, even if the old one is still there under another.
  REJOIN_ASSIGN(const bool there, table_exists(ctx, table.name));
  if (there) {
    REJOIN_ASSIGN(const bool another, is_another(ctx, table.id, table.name));
    if (!another) return std::optional(table.name);
  }
  REJOIN_ASSIGN(Statement s,
                prepare(ctx.db, "SELECT tbl_name FROM main.sqlite_schema WHERE type='trigger' AND name=?1"));
  const std::string name = follower(table.id);
  s.bind_text(1, name);
  REJOIN_ASSIGN(bool row, s.step());
  if (!row) return std::optional<std::string>();
  return std::optional(std::string(s.text(0)));
}

// One name of the list in the trigger's text, as SQLite writes it; moves past it and what parts it from the next.
std::optional<std::string> take_name(std::string_view& text) {
  std::string out;
  if (text.starts_with('"')) {
    size_t i = 1;
    for (; i < text.size() && (text[i] != '"' || text.substr(i, 2) == "\"\""); ++i) {
      out += text[i];
      if (text[i] == '"') ++i;
    }
    if (i >= text.size()) return std::nullopt;
    text.remove_prefix(i + 1);
  } else {
    const size_t end = text.find_first_of(", ");
    if (end == std::string_view::npos) return std::nullopt;
    out = text.substr(0, end);
    text.remove_prefix(end);
  }
  if (text.starts_with(", ")) text.remove_prefix(2);
  return out;
}

// What the columns that the table had are called now, dropped ones by their last name. Nothing: the table was made
// anew.
Result<std::optional<std::vector<std::string>>> followed_columns(Context& ctx, uint64_t id) {
  constexpr std::string_view kList = " UPDATE OF ";
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, "SELECT sql FROM main.sqlite_schema WHERE type='trigger' AND name=?1"));
  const std::string name = follower(id);
  s.bind_text(1, name);
  REJOIN_ASSIGN(const bool row, s.step());
  std::string_view sql = row ? s.text(0) : std::string_view();
  const size_t at = sql.find(kList);
  if (at == std::string_view::npos) return std::optional<std::vector<std::string>>();
  sql.remove_prefix(at + kList.size());
  std::vector<std::string> out;
  while (!sql.starts_with(" ")) {
    std::optional<std::string> column = take_name(sql);
    if (!column) return std::optional<std::vector<std::string>>();
    out.push_back(std::move(*column));
  }
  return std::optional(std::move(out));
}

// Its tracking ends.
Status forget_table(Context& ctx, const Begun& table) {
  REJOIN_TRY(end_tracking(ctx, table.id, table.name, EndedBy::drop));
  return exec(ctx.db, "DROP TABLE IF EXISTS main." + quote(copy_table(table.name)));
}

// The table gets its name. Others may have had that before: they go first, to theirs of now.
Status follow_table_names(Work& work, const Begun& table, const std::string& now) {
  Context& ctx = work.ctx();
  std::vector<RenamedTable> renamed{{table.id, table.name, now}};
  REJOIN_ASSIGN(const std::vector<RenamedTable> known, names_by_triggers(ctx));
  for (RenamedTable other : known) {
    if (other.id == table.id) continue;
    const Begun as_begun{other.id, other.from};
    REJOIN_ASSIGN(const bool altering, is_being_altered(ctx, other.from));
    if (altering) {
      REJOIN_ASSIGN(const std::optional<std::string> name, name_now(ctx, as_begun));
      other.to = name.value_or("");
    }
    if (other.to.empty()) {
      if (!altering || same_name(other.from, now)) REJOIN_TRY(forget_table(ctx, as_begun));
    } else if (!same_name(other.from, other.to)) {
      renamed.push_back(other);
    }
  }
  return rename_tracked(work, renamed);
}

// Names that have taken the place of others: runs of unknown names, equally long, between the same known ones.
std::vector<std::pair<std::string, std::string>> perhaps_renamed(const std::vector<std::string>& before,
                                                                 const std::vector<std::string>& after) {
  const auto has = [](const std::vector<std::string>& names, const std::string& name) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& n) { return same_name(n, name); });
  };
  std::vector<std::pair<std::string, std::string>> out;
  size_t i = 0, j = 0;
  while (i < before.size() || j < after.size()) {
    std::vector<std::string> gone, come;
    for (; i < before.size() && !has(after, before[i]); ++i) gone.push_back(before[i]);
    for (; j < after.size() && !has(before, after[j]); ++j) come.push_back(after[j]);
    // New columns come last.
    if (gone.size() == come.size() || (i == before.size() && gone.size() < come.size()))
      for (size_t n = 0; n < gone.size(); ++n) out.emplace_back(gone[n], come[n]);
    if (i == before.size() || j == after.size() || !same_name(before[i], after[j])) break;
    ++i, ++j;
  }
  return out;
}

class Finish {
 public:
  // `followed`: see followed_columns().
  Finish(Work& work, Table before, Table after, std::optional<std::vector<std::string>> followed)
      : ctx_(work.ctx()), work_(work), rows_(std::move(before), std::move(after)), followed_(std::move(followed)) {}

  Status run() {
    const std::string name = rows_.after.name;
    REJOIN_TRY(find_renames());
    rows_.map_columns();
    bool same_key = rows_.before.key.size() == rows_.after.key.size();
    for (size_t i = 0; same_key && i < rows_.after.key.size(); ++i)
      same_key = same_name(rows_.name_now(rows_.before.key[i].name), rows_.after.key[i].name);
    if (same_key) {
      REJOIN_ASSIGN(same_key, rows_.keeps_key_types(ctx_));
      rows_.other_rows = !same_key;
    }
    if (same_key) {
      REJOIN_TRY(follow_columns());
      REJOIN_TRY(renew_triggers(ctx_, rows_.before.id));
      REJOIN_TRY(rows_.log_changes(work_));
    } else {
      REJOIN_TRY(rows_.log_new_key(work_));
    }
    return {};
  }

 private:
  Status find_renames() {
    REJOIN_ASSIGN(const std::vector<std::string> before, declared_columns(ctx_, copy_table(rows_.before.name), false));
    REJOIN_ASSIGN(const std::vector<std::string> after, declared_columns(ctx_, rows_.after.name, false));
    if (followed_ && followed_->size() == before.size()) {
      for (size_t i = 0; i < before.size(); ++i) {
        const std::string& now = (*followed_)[i];
        const auto is_now = [&](const std::string& name) { return same_name(name, now); };
        if (is_now(before[i]) || std::none_of(after.begin(), after.end(), is_now)) continue;
        // One was dropped by this name before another got it. A column cannot get the name of one that is there, so it
        // was not this one, if the other has always been called so.
        size_t others = 0;
        for (size_t j = 0; j < before.size(); ++j) others += j != i && is_now((*followed_)[j]) && !is_now(before[j]);
        bool is = others == 0;
        if (!is) {
          REJOIN_ASSIGN(is, rows_.keeps_values(ctx_, before[i], now));
        }
        if (is) rows_.renamed.emplace_back(before[i], now);
      }
      return {};
    }
    const auto candidates = perhaps_renamed(before, after);
    const auto is_key = [](const Table& t, const std::string& name) {
      return std::any_of(t.key.begin(), t.key.end(), [&](const Column& c) { return same_name(c.name, name); });
    };
    // The key's first: rows are told apart by it.
    for (const bool key : {true, false})
      for (const auto& [from, to] : candidates) {
        if (is_key(rows_.before, from) != key || is_key(rows_.after, to) != key) continue;
        REJOIN_ASSIGN(const bool renamed, key ? rows_.keeps_keys(ctx_, from, to) : rows_.keeps_values(ctx_, from, to));
        if (renamed) rows_.renamed.emplace_back(from, to);
      }
    return {};
  }

  // Ids of columns, and the columns of the tables beside.
  Status follow_columns() {
    const Table& before = rows_.before;
    std::vector<RenamedColumn> renamed;
    for (size_t k = 0; k < before.key.size(); ++k) {
      const std::string& now = rows_.after.key[k].name;
      if (before.key[k].name != now) renamed.push_back({-1 - static_cast<int64_t>(k), before.key[k].name, now});
    }
    for (uint32_t c = 0; c < before.columns.size(); ++c) {
      if (!before.columns[c].present) continue;
      const Column* now = rows_.column_now(c);
      if (!now)
        REJOIN_TRY(drop_column(ctx_, before, c));
      else if (now->name != before.columns[c].name)
        renamed.push_back({static_cast<int64_t>(c), before.columns[c].name, now->name});
    }
    REJOIN_TRY(rename_columns(ctx_, before, renamed));
    return add_columns(ctx_, before, rows_.new_columns());
  }

  Context& ctx_;
  Work& work_;
  AlteredRows rows_;
  std::optional<std::vector<std::string>> followed_;
};

// What a column's type makes of values, as a type; values of the key are compared as they are.
const char* affinity_name(const Table& table, const std::string& column) {
  for (const Column& c : table.columns) {
    if (!c.present || !same_name(c.name, column)) continue;
    switch (c.affinity) {
      case Affinity::text:
        return " TEXT";
      case Affinity::integer:
        return " INTEGER";
      case Affinity::real:
        return " REAL";
      case Affinity::numeric:
        return " NUMERIC";
      case Affinity::blob:
        break;
    }
  }
  return "";
}

// The table as it was begun, from the metadata: the catalog may not have it any more.
Result<Table> table_before(Context& ctx, const Begun& table) {
  Table out;
  out.id = table.id;
  out.name = table.name;
  out.records_name = "main." + quote(records_table(table.name));
  out.shadow_name = "main." + quote(shadow_table(table.name));
  out.gone_name = "main." + quote(gone_table(table.name));
  {
    REJOIN_ASSIGN(Statement s,
                  prepare(ctx.db, "SELECT allow_integer_key, keep_deleted FROM main.rejoin_table WHERE id=?1"));
    s.bind(1, static_cast<int64_t>(table.id));
    REJOIN_ASSIGN(bool row, s.step());
    out.allow_integer_key = row && s.integer(0) != 0;
    out.keep_deleted = row && s.integer(1) != 0;
  }
  REJOIN_ASSIGN(const std::vector<std::string> key, key_columns(ctx, copy_table(table.name)));
  for (const std::string& name : key) out.key.emplace_back().name = name;
  {
    REJOIN_ASSIGN(Statement s, prepare(ctx.db, "SELECT name FROM main.rejoin_column WHERE tbl=?1 ORDER BY id"));
    s.bind(1, static_cast<int64_t>(table.id));
    REJOIN_ASSIGN(const Table copy, describe_table(ctx.db, copy_table(table.name)));
    for (;;) {
      REJOIN_ASSIGN(bool row, s.step());
      if (!row) break;
      Column& column = out.columns.emplace_back();
      column.name = s.text(0);
      column.present = false;
      for (const Column& c : copy.columns)
        if (same_name(c.name, column.name)) column.present = true, column.affinity = c.affinity;
    }
  }
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, "SELECT col, name FROM main.rejoin_former WHERE tbl=?1 AND col>=0"));
  s.bind(1, static_cast<int64_t>(table.id));
  for (;;) {
    REJOIN_ASSIGN(bool row, s.step());
    if (!row) break;
    out.former.push_back({s.integer(0), std::string(s.text(1))});
  }
  return out;
}

Status finish(Work& work, Begun table, const std::string& now) {
  Context& ctx = work.ctx();
  ctx.statements.clear();
  TrackOptions options;
  {
    REJOIN_ASSIGN(const Table before, table_before(ctx, table));
    options.allow_integer_key = before.allow_integer_key;
    REJOIN_ASSIGN(const Table after, describe_table(ctx.db, now));
    REJOIN_TRY(check_trackable(ctx, after, options));
  }
  if (now != table.name) {
    REJOIN_TRY(follow_table_names(work, table, now));
    table.name = now;
  }
  REJOIN_ASSIGN(auto followed, followed_columns(ctx, table.id));
  REJOIN_TRY(drop_triggers(ctx.db, table.id));
  REJOIN_ASSIGN(Table before, table_before(ctx, table));
  REJOIN_ASSIGN(Table after, describe_table(ctx.db, now));
  after.id = table.id;
  after.keep_deleted = before.keep_deleted;
  REJOIN_TRY(Finish(work, std::move(before), std::move(after), std::move(followed)).run());
  ctx.statements.clear();
  REJOIN_TRY(exec(ctx.db, "DROP TABLE main." + quote(copy_table(now))));
  ctx.catalog_main = -1;
  REJOIN_TRY(refresh_catalog(ctx));
  REJOIN_TRY(fold(work));
  if (!ctx.catalog.find(table.id))
    return fail(Code::internal, "table \"" + now + "\" is not tracked any more after it was altered");
  REJOIN_TRY(replay_parked_of(work, table.id));
  return settle_all_hidden(work);
}

Status begin_in(Work& work, const std::string& name) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(Table * table, tracked_table(ctx, name));
  REJOIN_ASSIGN(const bool already, is_being_altered(ctx, table->name));
  if (already)
    return fail(Code::bad_argument, "table \"" + table->name +
                                        "\" is being altered already; end it with "
                                        "rejoin_alter_commit(" +
                                        quote_text(table->name) + ") or ROLLBACK");
  REJOIN_TRY(fold(work));
  const Table t = *table;
  REJOIN_ASSIGN(const std::vector<std::string> columns, declared_columns(ctx, t.name, false));
  ctx.statements.clear();
  REJOIN_TRY(drop_triggers(ctx.db, t.id));
  std::string list, typed;
  for (const std::string& column : columns) {
    list += (list.empty() ? "" : ", ") + quote(column);
    typed += (typed.empty() ? "" : ", ") + quote(column) + affinity_name(t, column);
  }
  const std::string copy = "main." + quote(copy_table(t.name));
  REJOIN_TRY(exec(ctx.db, "CREATE TABLE " + copy + "(" + typed + ", PRIMARY KEY(" + t.key_list() + ")) WITHOUT ROWID"));
  REJOIN_TRY(exec(ctx.db, "INSERT INTO " + copy + "(" + list + ") SELECT " + list + " FROM " + t.quoted() +
                              " ORDER BY " + t.key_list()));
  return exec(ctx.db, "CREATE TRIGGER main." + quote(follower(t.id)) + " AFTER UPDATE OF " + list + " ON " +
                          quote(t.name) + " WHEN 0 BEGIN SELECT 1; END");
}

// Where foreign keys are enforced, DROP TABLE deletes all rows first, and their children with them.
Status check_children(Context& ctx, const Begun& table, const std::string& now) {
  int enforced = 0;
  if (sqlite3_db_config(ctx.db, SQLITE_DBCONFIG_ENABLE_FKEY, -1, &enforced) != SQLITE_OK || !enforced) return {};
  REJOIN_ASSIGN(
      Statement s,
      prepare(ctx.db,
              "SELECT (SELECT s.name FROM main.sqlite_schema AS s, pragma_foreign_key_list(s.name, 'main') AS f "
              "WHERE s.type='table' AND s.name<>?1 COLLATE NOCASE AND f.\"table\"=?1 COLLATE NOCASE) WHERE NOT "
              "EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type='trigger' AND name=?2)"));
  s.bind_text(1, now);
  const std::string trigger = follower(table.id);
  s.bind_text(2, trigger);
  REJOIN_ASSIGN(const bool made_anew, s.step());
  if (!made_anew || s.is_null(0)) return {};
  return fail(Code::bad_argument,
              "table \"" + now + "\" was dropped and made anew while foreign keys are enforced, which does to \"" +
                  std::string(s.text(0)) +
                  "\", as it refers to this table, what deleting all rows does; ROLLBACK, then PRAGMA foreign_keys=OFF "
                  "before rejoin_alter_begin()");
}

Status commit_in(Work& work, const std::string& name) {
  REJOIN_ASSIGN(const std::vector<Begun> tables, begun(work.ctx()));
  for (const Begun& table : tables) {
    REJOIN_ASSIGN(const std::optional<std::string> now, name_now(work.ctx(), table));
    if (!same_name(table.name, name) && !(now && same_name(*now, name))) continue;
    if (!now)
      return fail(Code::not_found, "table \"" + table.name + "\" is gone; make it anew under this name, or ROLLBACK");
    REJOIN_TRY(check_children(work.ctx(), table, *now));
    return finish(work, table, *now);
  }
  // The end of another may have given it its new name.
  for (const Begun& table : tables) {
    const Table* known = work.ctx().catalog.find(table.id);
    const auto is = [&](const std::string& former) { return same_name(former, name); };
    if (known && std::any_of(known->former_names.begin(), known->former_names.end(), is))
      return finish(work, table, table.name);
  }
  return fail(Code::bad_argument,
              "table \"" + name + "\" is not being altered; call rejoin_alter_begin(" + quote_text(name) + ") first");
}

// Changes with each commit, this connection's own ones too.
std::optional<uint32_t> commits(Context& ctx) {
  unsigned version = 0;
  if (sqlite3_file_control(ctx.db, "main", SQLITE_FCNTL_DATA_VERSION, &version) != SQLITE_OK) return {};
  return version;
}

}  // namespace

Result<bool> is_being_altered(Context& ctx, const std::string& table) { return table_exists(ctx, copy_table(table)); }

Status alter_begin(Context& ctx, const std::string& table) {
  const Altering inside(ctx);
  const bool opened = sqlite3_get_autocommit(ctx.db);
  const Status done = [&]() -> Status {
    if (opened) REJOIN_TRY(exec(ctx.db, "BEGIN IMMEDIATE"));
    REJOIN_ASSIGN(Work work, Work::write(ctx));
    // An earlier transaction of begin's was ended by hand; this one is the application's.
    REJOIN_ASSIGN(const std::vector<Begun> others, begun(ctx));
    if (!opened && others.empty()) ctx.alter_begun.reset();
    REJOIN_TRY(begin_in(work, table));
    return work.commit();
  }();
  if (opened) {
    ctx.alter_begun = done.ok() ? commits(ctx) : std::nullopt;
    if (!done.ok()) roll_back(ctx.db);
  }
  return done;
}

Status alter_commit(Context& ctx, const std::string& table) {
  if (sqlite3_get_autocommit(ctx.db)) {
    // The transaction was ended by hand: committed, then this settles it, or rolled back.
    ctx.alter_begun.reset();
    REJOIN_ASSIGN(const std::vector<Begun> left, begun(ctx));
    if (left.empty())
      return fail(Code::bad_argument, "table \"" + table +
                                          "\" is not being altered (was it rolled back?); call "
                                          "rejoin_alter_begin(" +
                                          quote_text(table) + ") first");
    REJOIN_ASSIGN(Work work, Work::write(ctx));
    return work.commit();
  }
  const Altering inside(ctx);
  const Status done = [&]() -> Status {
    {
      REJOIN_ASSIGN(Work work, Work::write(ctx));
      REJOIN_TRY(commit_in(work, table));
      REJOIN_TRY(work.commit());
    }
    REJOIN_ASSIGN(const std::vector<Begun> others, begun(ctx));
    if (!others.empty()) return {};
    // Begin's transaction may have been committed by hand; then the one that is open is the application's.
    const bool begins = ctx.alter_begun && ctx.alter_begun == commits(ctx);
    if (begins) REJOIN_TRY(exec(ctx.db, "COMMIT"));
    ctx.alter_begun.reset();
    return {};
  }();
  // It may be half done.
  if (!done.ok() && done.error().code == Code::interrupted) roll_back(ctx.db);
  return done;
}

Result<bool> settle_alters(Work& work) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(const std::vector<Begun> tables, begun(ctx));
  if (tables.empty()) return false;
  if (ctx.altering) return true;
  if (work.is_savepoint())
    return fail(Code::in_transaction, "table \"" + tables[0].name +
                                          "\" is being altered; end that with "
                                          "rejoin_alter_commit(" +
                                          quote_text(tables[0].name) + ") or ROLLBACK");
  // One after the other: what ends may have given another its name.
  for (std::vector<Begun> left = tables; !left.empty();) {
    const Begun& table = left[0];
    REJOIN_ASSIGN(const std::optional<std::string> now, name_now(ctx, table));
    ctx.statements.clear();
    Status done = now ? finish(work, table, *now) : Status();
    if (!done.ok() && done.error().code != Code::untrackable) return done.error();
    // It is gone, or became what cannot be synced: tracking ended with it.
    if (!now || !done.ok()) REJOIN_TRY(forget_table(ctx, table));
    REJOIN_ASSIGN(left, begun(ctx));
  }
  ctx.catalog_main = -1;
  REJOIN_TRY(refresh_catalog(ctx));
  return false;
}

}  // namespace rejoin::sqlite
