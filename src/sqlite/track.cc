#include "sqlite/track.h"

#include <algorithm>

#include "codec/merged_list.h"
#include "sqlite/alter_session.h"
#include "sqlite/columns.h"
#include "sqlite/ended.h"
#include "sqlite/fold.h"
#include "sqlite/former_names.h"
#include "sqlite/identity.h"
#include "sqlite/key_reader.h"
#include "sqlite/late_columns.h"
#include "sqlite/layout.h"
#include "sqlite/parked.h"
#include "sqlite/record_writer.h"
#include "sqlite/side_alter.h"
#include "sqlite/triggers.h"
#include "sqlite/visibility.h"

namespace rejoin::sqlite {
namespace {

Result<bool> exists(sqlite3* db, const std::string& schema_table, std::string_view name) {
  REJOIN_ASSIGN(Statement s, prepare(db, "SELECT 1 FROM " + schema_table + " WHERE name=?1 COLLATE NOCASE"));
  s.bind_text(1, name);
  return s.step();
}

}  // namespace

Status check_trackable(Context& ctx, const Table& t, const TrackOptions& options) {
  auto refuse = [&](const std::string& why) {
    return fail(Code::untrackable, "cannot track \"" + t.name + "\": " + why);
  };
  bool sqlites = sqlite3_strnicmp(t.name.c_str(), "sqlite_", 7) == 0;
  if (sqlites || sqlite3_strnicmp(t.name.c_str(), "rejoin_", 7) == 0 ||
      sqlite3_strlike("%\\_\\_rejoin%", t.name.c_str(), '\\') == 0)
    return refuse("it belongs to " + std::string(sqlites ? "SQLite" : "Rejoin") + " itself");
  if (t.key.empty())
    return refuse(
        "it has no PRIMARY KEY, so rows cannot be told apart on other devices; give it one, such as id TEXT PRIMARY "
        "KEY");
  if (t.integer_key && !options.allow_integer_key)
    return refuse(
        "its key is an INTEGER PRIMARY KEY, which SQLite numbers by itself: two devices would mint the same key for "
        "different rows. Use id TEXT PRIMARY KEY with rejoin_uuid(), or say '{\"allow_integer_key\":true}' if your app "
        "assigns keys that never collide");
  REJOIN_ASSIGN(Statement collations, prepare(ctx.db,
                                              "SELECT x.name, x.coll FROM pragma_index_list(?1, 'main') AS i, "
                                              "pragma_index_xinfo(i.name, 'main') AS x WHERE "
                                              "i.origin='pk' AND x.key AND x.coll<>'BINARY' COLLATE NOCASE"));
  collations.bind_text(1, t.name);
  REJOIN_ASSIGN(bool foreign, collations.step());
  if (foreign)
    return refuse("its key column \"" + std::string(collations.text(0)) + "\" has the collation " +
                  std::string(collations.text(1)) +
                  "; two keys that it calls equal would be two rows elsewhere. Declare the column with COLLATE BINARY");
  for (const Column& c : t.key) {
    const char* collation = nullptr;
    if (sqlite3_table_column_metadata(ctx.db, "main", t.name.c_str(), c.name.c_str(), nullptr, &collation, nullptr,
                                      nullptr, nullptr) == SQLITE_OK &&
        collation && sqlite3_stricmp(collation, "BINARY") != 0)
      return refuse("its key column \"" + c.name + "\" has the collation " + collation +
                    ", by which comparisons would find other keys too. Declare the column with COLLATE BINARY");
  }
  // A tracked one refuses them itself.
  if (!t.id) {
    std::string null_key;
    for (const Column& c : t.key) null_key += (null_key.empty() ? "" : " OR ") + quote(c.name) + " IS NULL";
    REJOIN_ASSIGN(auto nulls, query_int(ctx.db, "SELECT count(*) FROM " + t.quoted() + " WHERE " + null_key));
    if (nulls.value_or(0))
      return refuse(std::to_string(*nulls) + " of its rows have a NULL in the key; give each a key first");
  }
  // What no contract can carry, no server would take.
  contract::Contract contract;
  contract.tables.push_back(to_contract(t));
  if (auto fit = contract::check(contract); !fit.ok()) return refuse(fit.error().message);
  if (t.rowid_name().empty())
    return refuse("columns have taken all names of SQLite's row number (rowid, oid, _rowid_); rename one of them");
  return {};
}

namespace {

Status check_side_tables(Context& ctx, const Table& t) {
  for (const std::string& name : {records_table(t.name), shadow_table(t.name), gone_table(t.name)}) {
    REJOIN_ASSIGN(bool taken, exists(ctx.db, "main.sqlite_schema", name));
    if (taken)
      return fail(Code::untrackable,
                  "cannot track \"" + t.name + "\": a table \"" + name + "\" is in the way; drop or rename it");
  }
  return {};
}

}  // namespace

Status create_side_tables(Context& ctx, const Table& t) {
  REJOIN_TRY(exec(
      ctx.db, "CREATE TABLE IF NOT EXISTS " + t.records() + "(k BLOB PRIMARY KEY, rec BLOB NOT NULL) WITHOUT ROWID"));
  std::string columns = t.column_list();
  // No types and no constraints: any value of the real table fits and comes back bit for bit.
  std::string all = t.key_list() + (columns.empty() ? "" : ", " + columns);
  REJOIN_TRY(exec(ctx.db, "CREATE TABLE IF NOT EXISTS " + t.gone() + "(" + all + ")"));
  return exec(ctx.db, "CREATE TABLE IF NOT EXISTS " + t.shadow() + "(" + all + ", PRIMARY KEY(" + t.key_list() +
                          ")) WITHOUT ROWID");
}

Status add_column_ids(Context& ctx, uint64_t table, const std::vector<std::string>& names, size_t first) {
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, "INSERT INTO main.rejoin_column(tbl, id, name) VALUES(?1, ?2, ?3)"));
  for (const std::string& name : names) {
    s.bind(1, static_cast<int64_t>(table));
    s.bind(2, static_cast<int64_t>(first++));
    s.bind_text(3, name);
    REJOIN_TRY(s.run());
  }
  return {};
}

Status widen_log(Context& ctx, size_t key_columns) {
  REJOIN_ASSIGN(
      auto have,
      query_int(ctx.db, "SELECT count(*) FROM pragma_table_info('rejoin_log', 'main') WHERE name GLOB 'k[0-9]*'"));
  for (size_t i = static_cast<size_t>(have.value_or(1)); i < key_columns; ++i)
    REJOIN_TRY(exec(ctx.db, "ALTER TABLE main.rejoin_log ADD COLUMN k" + std::to_string(i)));
  return {};
}

namespace {

// Columns that a table did not have when it was synced before: nobody else can know what they hold.
std::vector<uint32_t> columns_since(const Table& t, const std::optional<FormerLife>& before) {
  std::vector<uint32_t> out;
  for (uint32_t c = 0; before && c < t.columns.size(); ++c)
    if (std::none_of(before->columns.begin(), before->columns.end(),
                     [&](const std::string& name) { return same_name(name, t.columns[c].name); }))
      out.push_back(c);
  return out;
}

// Rows from before tracking: the lowest stamp there is, and an entry in the feed so that peers who are ahead of it hear
// of them. Of a table that was synced before, what stands in new columns counts as written right after the newest of
// its rows was inserted: it stays when the rows come back from the others, with their births, and every edit that
// somebody has made since wins.
Status record_existing_rows(Work& work, const Table& t, const std::optional<FormerLife>& before) {
  Context& ctx = work.ctx();
  const std::vector<uint32_t> claimed = columns_since(t, before);
  const crdt::Stamp claim{std::max(before ? before->born : 0, crdt::kBeforeTrackingHlc) + kAboveDefaults,
                          work.state.site};
  std::string differ;
  for (size_t i = 0; i < claimed.size(); ++i)
    differ += ", " + quote(t.columns[claimed[i]].name) + " COLLATE BINARY IS NOT ?" + std::to_string(i + 1);
  REJOIN_ASSIGN(Statement rows, prepare(ctx.db, "SELECT " + t.key_list() + differ + " FROM " + t.quoted() +
                                                    " ORDER BY " + t.key_list()));
  for (size_t i = 0; i < claimed.size(); ++i)
    rows.bind(static_cast<int>(i + 1), t.columns[claimed[i]].default_value.ref());
  REJOIN_ASSIGN(Statement log,
                prepare(ctx.db, "INSERT INTO main.rejoin_log(tbl, op, bits, k0) VALUES(?1, ?2, ?3, ?4)"));
  RecordWriter writer(ctx, t);
  codec::MergedListWriter list;
  crdt::RowRecord known, record;
  known.insert({crdt::kBeforeTrackingHlc, work.state.site}, static_cast<uint32_t>(t.columns.size()));
  auto flush = [&]() -> Status {
    if (list.empty()) return {};
    REJOIN_TRY(writer.flush());
    Bytes blob = list.finish();
    log.bind(1, static_cast<int64_t>(t.id));
    log.bind(2, static_cast<int64_t>(kMerged));
    log.bind(3, static_cast<int64_t>(work.state.site));
    log.bind_blob(4, blob);
    return log.run("logging the existing rows");
  };
  Bytes key;
  for (;;) {
    REJOIN_ASSIGN(bool row, rows.step("reading the existing rows"));
    if (!row) break;
    encode_row_key(rows, 0, t.key.size(), key);
    record = known;
    crdt::ColumnSet written;
    for (size_t i = 0; i < claimed.size(); ++i)
      if (rows.integer(static_cast<int>(t.key.size() + i))) written.add(claimed[i]);
    if (!written.empty()) {
      t.constraints.groups.expand(written);
      record.write(written, claim);
      crdt::canonicalise(record, ctx.sites);
      work.state.last = std::max(work.state.last, claim.hlc);
    }
    writer.add(key, record);
    list.add(key, true, true, {});
    if (list.rows() >= 1024) REJOIN_TRY(flush());
  }
  return flush();
}

}  // namespace

Status end_tracking(Context& ctx, uint64_t id, const std::string& name, EndedBy by) {
  REJOIN_TRY(note_ended(ctx, id, name, by));
  REJOIN_TRY(drop_triggers(ctx.db, id));
  for (const std::string& side : {records_table(name), shadow_table(name), gone_table(name)})
    REJOIN_TRY(exec(ctx.db, "DROP TABLE IF EXISTS main." + quote(side)));
  std::string number = std::to_string(id);
  // The newest log row stays, blanked: SQLite would give its number out again.
  for (
      const std::string& sql : {
          "DELETE FROM main.rejoin_log WHERE tbl=" + number + " AND seq<(SELECT max(seq) FROM main.rejoin_log)",
          "UPDATE main.rejoin_log SET tbl=0, op=" + std::to_string(kBlank) + ", bits=NULL, k0=NULL WHERE tbl=" + number,
          "DELETE FROM main.rejoin_table WHERE id=" + number,
          "DELETE FROM main.rejoin_column WHERE tbl=" + number,
          "INSERT OR IGNORE INTO main.rejoin_untracked SELECT name FROM main.rejoin_former WHERE col IS NULL AND tbl=" +
              number + " AND EXISTS (SELECT 1 FROM main.rejoin_peer)",
          "DELETE FROM main.rejoin_former WHERE tbl=" + number,
          "DELETE FROM main.rejoin_lost WHERE tbl=" + number,
          "DELETE FROM main.rejoin_aside WHERE table_name=" + quote_text(name),
          "DELETE FROM main.rejoin_rejections WHERE table_name=" + quote_text(name),
          "DELETE FROM main.rejoin_evicted WHERE table_name=" + quote_text(name),
          "DELETE FROM main.rejoin_discarded WHERE table_name=" + quote_text(name),
          "INSERT OR IGNORE INTO main.rejoin_untracked SELECT " + quote_text(name) +
              " WHERE EXISTS (SELECT 1 FROM main.rejoin_peer)",
      })
    REJOIN_TRY(exec(ctx.db, sql));
  return {};
}

namespace {

// Has a server rows of a table with this name that are not in this one: it was dropped, untracked or renamed here?
Result<bool> was_synced(Context& ctx, uint64_t id, const std::string& name) {
  REJOIN_ASSIGN(Statement s, prepare(ctx.db,
                                     "SELECT 1 FROM main.rejoin_peer WHERE EXISTS (SELECT 1 FROM main.rejoin_untracked "
                                     "WHERE name=?1) OR EXISTS (SELECT 1 FROM main.rejoin_former WHERE col IS NULL AND "
                                     "name=?1 AND tbl<>?2)"));
  s.bind_text(1, name);
  s.bind(2, static_cast<int64_t>(id));
  return s.step("looking whether a table was synced before");
}

Status forget_untracked(Context& ctx, const std::string& name) {
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, "DELETE FROM main.rejoin_untracked WHERE name=?1"));
  s.bind_text(1, name);
  REJOIN_TRY(s.run("tracking a table again"));
  return forget_ended(ctx, name);
}

// A table whose name was synced before comes without that one's history: its rows lose to what the others have, so
// those must be asked for again, the ones that this replica wrote itself included. Hence the new site id: nothing is
// left out for it.
Status meet_again(Work& work, const std::string& name) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(const bool before, was_synced(ctx, 0, name));
  REJOIN_TRY(forget_untracked(ctx, name));
  if (!before) return {};
  REJOIN_TRY(take_new_identity(work));
  return exec(ctx.db, "UPDATE main.rejoin_peer SET pull_cursor=NULL, push_cursor=NULL");
}

}  // namespace

Status announce_rows(Work& work, const Table& t) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(Statement records, prepare(ctx.db, "SELECT k FROM " + t.records() + " ORDER BY k"));
  REJOIN_ASSIGN(Statement log,
                prepare(ctx.db, "INSERT INTO main.rejoin_log(tbl, op, bits, k0) VALUES(?1, ?2, ?3, ?4)"));
  codec::MergedListWriter list;
  auto flush = [&]() -> Status {
    if (list.empty()) return {};
    Bytes blob = list.finish();
    log.bind(1, static_cast<int64_t>(t.id));
    log.bind(2, static_cast<int64_t>(kMerged));
    log.bind(3, static_cast<int64_t>(work.state.site));
    log.bind_blob(4, blob);
    return log.run("logging a renamed table's rows");
  };
  for (;;) {
    REJOIN_ASSIGN(bool row, records.step("reading a renamed table's rows"));
    if (!row) break;
    list.announce(records.blob(0));
    if (list.rows() >= 1024) REJOIN_TRY(flush());
  }
  return flush();
}

Result<std::vector<RenamedTable>> names_by_triggers(Context& ctx) {
  REJOIN_ASSIGN(Statement s,
                prepare(ctx.db,
                        "SELECT t.id, t.name, coalesce(max(s.tbl_name), '') FROM main.rejoin_table AS t LEFT JOIN "
                        "main.sqlite_schema AS s ON s.type='trigger' AND s.name GLOB 'rejoin_capture_'||t.id||'_*' "
                        "GROUP BY t.id"));
  std::vector<RenamedTable> out;
  for (;;) {
    REJOIN_ASSIGN(bool row, s.step());
    if (!row) break;
    out.push_back({static_cast<uint64_t>(s.integer(0)), std::string(s.text(1)), std::string(s.text(2))});
  }
  return out;
}

namespace {

// Everything that goes by a tracked table's name.
Status move_names(Context& ctx, uint64_t id, const std::string& from, const std::string& to) {
  for (auto side : {records_table, shadow_table, gone_table, copy_table}) {
    REJOIN_ASSIGN(const bool there, exists(ctx.db, "main.sqlite_schema", side(from)));
    if (there || side != copy_table)
      REJOIN_TRY(alter_side_table(ctx.db, "ALTER TABLE main." + quote(side(from)) + " RENAME TO " + quote(side(to))));
  }
  REJOIN_TRY(exec(ctx.db, "UPDATE main.rejoin_table SET name=" + quote_text(to) + " WHERE id=" + std::to_string(id)));
  // Hidden rows go by the new name; parked changes keep the one they came with.
  REJOIN_TRY(exec(ctx.db, "UPDATE main.rejoin_aside SET table_name=" + quote_text(to) +
                              " WHERE frame IS NULL AND table_name=" + quote_text(from)));
  for (const char* of : {"rejoin_rejections", "rejoin_discarded", "rejoin_evicted"})
    REJOIN_TRY(exec(ctx.db, std::string("UPDATE OR REPLACE main.") + of + " SET table_name=" + quote_text(to) +
                                " WHERE table_name=" + quote_text(from)));
  return {};
}

// Others may go on calling it by its old name.
Status note_former(Context& ctx, const RenamedTable& r) {
  const std::string number = std::to_string(r.id);
  REJOIN_TRY(exec(ctx.db, "DELETE FROM main.rejoin_former WHERE col IS NULL AND (tbl=" + number +
                              " AND name=" + quote_text(r.to) + " OR name=" + quote_text(r.from) + ")"));
  return exec(ctx.db, "INSERT INTO main.rejoin_former(tbl, col, name) VALUES(" + number + ", NULL, " +
                          quote_text(r.from) + ")");
}

}  // namespace

Status rename_tracked(Work& work, const std::vector<RenamedTable>& renamed) {
  Context& ctx = work.ctx();
  ctx.statements.clear();
  std::vector<uint64_t> captured;  // one that is being altered gets its triggers back when that ends
  for (const RenamedTable& r : renamed) {
    REJOIN_TRY(note_ended(ctx, r.id, r.from, EndedBy::rename));
    REJOIN_ASSIGN(const bool altering, is_being_altered(ctx, r.from));
    if (altering) continue;
    captured.push_back(r.id);
    REJOIN_TRY(drop_triggers(ctx.db, r.id));
  }
  const auto on_the_way = [](const RenamedTable& r) { return "rejoin_moving_" + std::to_string(r.id); };
  // Where one takes another's name, or SQLite takes the new one for the old.
  const bool detour = std::any_of(renamed.begin(), renamed.end(), [&](const RenamedTable& r) {
    return std::any_of(renamed.begin(), renamed.end(), [&](const RenamedTable& o) { return same_name(r.to, o.from); });
  });
  if (detour)
    for (const RenamedTable& r : renamed) REJOIN_TRY(move_names(ctx, r.id, r.from, on_the_way(r)));
  for (const RenamedTable& r : renamed) REJOIN_TRY(move_names(ctx, r.id, detour ? on_the_way(r) : r.from, r.to));
  for (const RenamedTable& r : renamed) REJOIN_TRY(note_former(ctx, r));
  for (const RenamedTable& r : renamed) {
    // What the others have under the new name came, if ever, to the table that had it then.
    REJOIN_ASSIGN(const bool before, was_synced(ctx, r.id, r.to));
    if (before)
      REJOIN_TRY(exec(ctx.db,
                      "UPDATE main.rejoin_peer SET pull_cursor=NULL, pull_all=1 WHERE chain_token NOT NULL OR "
                      "pull_cursor NOT NULL OR site NOT NULL"));
    REJOIN_TRY(forget_untracked(ctx, r.to));
  }
  ctx.catalog_main = -1;
  REJOIN_TRY(refresh_catalog(ctx));
  for (const uint64_t id : captured) REJOIN_TRY(renew_triggers(ctx, id));
  for (const RenamedTable& r : renamed)
    if (const Table* t = ctx.catalog.find(r.id)) REJOIN_TRY(announce_rows(work, *t));
  return {};
}

Status track(Context& ctx, const std::string& name, const TrackOptions& options) {
  REJOIN_ASSIGN(bool temp, exists(ctx.db, "sqlite_temp_schema", name));
  if (temp)
    return fail(Code::untrackable,
                "cannot track \"" + name +
                    "\": it is a temporary table, which ends with the connection; create it without TEMP");
  // Looked at before any transaction is opened, so that a refusal creates nothing.
  REJOIN_ASSIGN(Table table, describe_table(ctx.db, name));
  REJOIN_ASSIGN(Work work, Work::write(ctx, true));
  if (Table* known = ctx.catalog.find(name)) {
    const uint64_t id = known->id;
    if (options.keep_deleted && known->keep_deleted != *options.keep_deleted) {
      REJOIN_TRY(exec(ctx.db, "UPDATE main.rejoin_table SET keep_deleted=" + std::to_string(*options.keep_deleted) +
                                  " WHERE id=" + std::to_string(known->id)));
      ctx.statements.clear();
      REJOIN_TRY(renew_triggers(ctx, known->id));
    }
    REJOIN_TRY(note_former_names(work, id, options));
    return work.commit();
  }
  REJOIN_TRY(check_trackable(ctx, table, options));
  REJOIN_TRY(check_side_tables(ctx, table));
  REJOIN_TRY(fold(work));
  REJOIN_ASSIGN(const std::optional<FormerLife> before, former_life(ctx, table.name));
  REJOIN_TRY(meet_again(work, table.name));
  table.allow_integer_key = options.allow_integer_key;
  table.keep_deleted = options.keep_deleted.value_or(true);
  {
    // Ids are never given out twice: old cursors and log rows may still name them.
    REJOIN_ASSIGN(Statement s,
                  prepare(ctx.db,
                          "INSERT INTO main.rejoin_table(id, name, allow_integer_key, keep_deleted) VALUES(1 + "
                          "max(coalesce((SELECT max(id) FROM main.rejoin_table), 0), coalesce((SELECT max(tbl) FROM "
                          "main.rejoin_log), 0)), ?1, ?2, ?3) RETURNING id"));
    s.bind_text(1, table.name);
    s.bind(2, static_cast<int64_t>(options.allow_integer_key));
    s.bind(3, static_cast<int64_t>(table.keep_deleted));
    REJOIN_ASSIGN(bool row, s.step("adding the table"));
    if (!row) return fail(Code::internal, "adding the table gave no id");
    table.id = static_cast<uint64_t>(s.integer(0));
    REJOIN_TRY(s.run());
  }
  std::vector<std::string> names;
  for (const Column& c : table.columns) names.push_back(c.name);
  REJOIN_TRY(add_column_ids(ctx, table.id, names, 0));
  REJOIN_TRY(widen_log(ctx, table.key.size()));
  REJOIN_TRY(create_side_tables(ctx, table));
  REJOIN_TRY(renew_triggers(ctx, table.id));
  {
    const Table* tracked = ctx.catalog.find(table.id);
    if (!tracked) return fail(Code::internal, "table \"" + table.name + "\" is not there after it was tracked");
    REJOIN_TRY(record_existing_rows(work, *tracked, before));
  }
  REJOIN_ASSIGN(int64_t tail, log_tail(ctx));
  if (tail > work.state.folded) {
    work.state.folded = tail;
    work.state.last = std::max(work.state.last, crdt::kBeforeTrackingHlc);
    REJOIN_TRY(end_batch(ctx, tail, work.state.site));
  }
  REJOIN_TRY(refresh_catalog(ctx));
  // Rows that lack their parents show nowhere else.
  if (const Table* tracked = ctx.catalog.find(table.id)) {
    Visibility visibility(ctx);
    visibility.came(*tracked);
    REJOIN_TRY(visibility.settle({tracked->id}));
  }
  REJOIN_TRY(note_former_names(work, table.id, options));
  REJOIN_TRY(replay_parked(work, table.name));
  return work.commit();
}

namespace {

// Where metadata is gone (see doctor) nothing can be folded; untracking is the way out.
Status replace_lost_side_tables(Context& ctx, const std::string& name) {
  REJOIN_ASSIGN(Work work, Work::read(ctx));
  REJOIN_ASSIGN(Table * table, tracked_table(ctx, name));
  bool all = true;
  for (const std::string& side : {records_table(table->name), shadow_table(table->name), gone_table(table->name)}) {
    REJOIN_ASSIGN(bool there, exists(ctx.db, "main.sqlite_schema", side));
    all &= there;
  }
  const std::unique_ptr<Table> lost = all ? nullptr : std::make_unique<Table>(*table);
  REJOIN_TRY(work.commit());
  return lost ? create_side_tables(ctx, *lost) : Status();
}

}  // namespace

Status untrack(Context& ctx, const std::string& name) {
  const Status whole = replace_lost_side_tables(ctx, name);
  if (!whole.ok() && whole.error().code != Code::not_tracked) return whole;
  REJOIN_ASSIGN(Work work, Work::write(ctx));
  if (!ctx.catalog.find(name)) {
    // One that was dropped and made anew is not synced any more: so be it.
    REJOIN_ASSIGN(const bool accepted, accept_ended(ctx, name));
    if (accepted) return work.commit();
  }
  REJOIN_ASSIGN(Table * table, tracked_table(ctx, name));
  REJOIN_TRY(fold(work));
  REJOIN_ASSIGN(const int64_t hidden, count_hidden(ctx, *table));
  if (hidden)
    return fail(Code::bad_argument,
                "table \"" + table->name + "\" has " + std::to_string(hidden) +
                    " row(s) that wait in rejoin_parked and would be lost, or would lose their references; make room "
                    "for them first: its column reason says what each waits for");
  std::string exact = table->name;
  uint64_t id = table->id;
  ctx.statements.clear();  // a statement on a table keeps it from being dropped
  REJOIN_TRY(end_tracking(ctx, id, exact, EndedBy::untrack));
  return work.commit();
}

}  // namespace rejoin::sqlite
