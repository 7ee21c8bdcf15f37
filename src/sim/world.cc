#include "sim/world.h"

#include <unistd.h>

#include <algorithm>

#include "sim/clock_vfs.h"
#include "sim/statements.h"
#include "sqlite/api.h"

namespace rejoin::sim {
namespace {

constexpr int64_t kStart = 1'700'000'000'000;

// Does a frame begin where the other ends?
bool goes_on_with(BytesView frame, BytesView other) {
  auto second = codec::ChangesetReader::open(frame), first = codec::ChangesetReader::open(other);
  return first.ok() && second.ok() && second->info().from == first->info().next;
}

// Is it the last of these pages? An older frame that tells all of its own is not.
bool ends(BytesView frame, const std::vector<std::pair<Bytes, Said>>& pages) {
  if (pages.empty() || !goes_on_with(frame, pages.back().first)) return false;
  const auto last = codec::ChangesetReader::open(frame);
  return last.ok() && std::all_of(pages.begin(), pages.end(), [&](const auto& page) {
           auto reader = codec::ChangesetReader::open(page.first);
           return reader.ok() && last->info().through >= reader->info().horizon;
         });
}

// Does a frame tell everything up to where these pages would lead?
bool tells_all_of(BytesView frame, const std::vector<std::pair<Bytes, Said>>& pages) {
  auto whole = codec::ChangesetReader::open(frame);
  if (!whole.ok() || !whole->info().from.empty()) return false;
  return std::all_of(pages.begin(), pages.end(), [&](const auto& page) {
    auto reader = codec::ChangesetReader::open(page.first);
    return reader.ok() && whole->info().through >= reader->info().horizon;
  });
}

std::string name_of(int device) { return "replica " + std::to_string(device); }

bool create_tables(Database& db, const std::vector<int>& tables) {
  return std::all_of(tables.begin(), tables.end(), [&](int t) {
    const std::string& sql = table_specs()[static_cast<size_t>(t)].create;
    return sqlite3_exec(db.connection(0), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK;
  });
}

Status track_tables(Database& db, const std::vector<int>& tables) {
  for (int t : tables) {
    const TableSpec& spec = table_specs()[static_cast<size_t>(t)];
    sqlite::TrackOptions track;
    track.allow_integer_key = spec.allow_integer_key;
    if (Status status = db.replica(0).track(spec.name, track); !status) return status;
  }
  return {};
}

// A change of several statements, one a line. SQLite's code.
int run_lines(Database& db, int connection, std::string_view sql) {
  int rc = SQLITE_OK;
  while (!sql.empty() && rc == SQLITE_OK) {
    const size_t end = std::min(sql.find('\n'), sql.size());
    rc = db.run(connection, std::string(sql.substr(0, end)));
    sql.remove_prefix(std::min(end + 1, sql.size()));
  }
  return rc;
}

// The change between rejoin_alter_begin and rejoin_alter_commit.
Status alter_between(Database& db, int connection, const TableSpec& spec, const AlterSpec& change) {
  sqlite::Replica& replica = db.replica(connection);
  if (Status begun = replica.alter_begin(spec.name); !begun) return begun;
  if (run_lines(db, connection, change.sql) != SQLITE_OK)
    return fail(Code::internal, change.sql + ": " + db.last_error(connection));
  return replica.alter_commit(change.kind == AlterSpec::rename_table ? change.name : spec.name);
}

bool alter_tables(Database& db, const std::vector<int>& tables) {
  for (int t : tables) {
    const auto& alters = table_specs()[static_cast<size_t>(t)].alters;
    for (int v = 0; v < std::ssize(alters); ++v) {
      const AlterSpec& alter = alters[static_cast<size_t>(v)];
      const Status done = alter.kind == AlterSpec::rekey ? alter_between(db, 0, spec_at(t, TableVersion{v, 0}), alter)
                                                         : db.replica(0).alter(alter.sql);
      if (!done) return false;
    }
  }
  return true;
}

// A database with these tables, empty: Rejoin's own tables beside them, tracked too, or tracked and in their last form.
// That is always the same, and would be half of a script's time if each replica did it.
enum class Stage { untracked, tracked, altered };
Database* empty_database(const std::vector<int>& tables, Stage stage) {
  constexpr int kSlot = 16;  // no replica's
  // What tells the time is made first, and so ends last.
  static FakeClock clock;
  static const std::string vfs = clock_vfs(kSlot, false, clock);
  static std::map<std::pair<std::vector<int>, Stage>, std::unique_ptr<Database>> all;
  std::unique_ptr<Database>& db = all[{tables, stage}];
  if (db) return db.get();
  db = std::make_unique<Database>(kSlot, "", 0);
  db->clock().set(kStart);
  bool made = create_tables(*db, tables) && db->replica(0).site();
  if (stage != Stage::untracked) made = made && track_tables(*db, tables);
  if (stage == Stage::altered) made = made && alter_tables(*db, tables);
  if (!made) db.reset();
  return db.get();
}

}  // namespace

World::World(const Script& script, const RunOptions& options) : script_(script), options_(options) {}

World::~World() {
  devices_.clear();
  for (int i = 0; i < files_; ++i)
    for (const char* suffix : {"", "-wal", "-shm", "-journal"})
      unlink((options_.folder + "/sim-" + std::to_string(i) + ".db" + suffix).c_str());
}

void World::fail(std::string kind, std::string message) {
  if (!failure_) failure_ = Failure{std::move(kind), std::move(message), step_};
}

std::string World::path(int) {
  return script_.files ? options_.folder + "/sim-" + std::to_string(files_++) + ".db" : "";
}

std::unique_ptr<Database> World::open(int i, uint64_t seed) {
  auto db = std::make_unique<Database>(i, path(i), seed);
  if (constrained())
    db->set_pragmas({script_.enforced ? "PRAGMA foreign_keys=on" : "PRAGMA foreign_keys=off",
                     script_.recursive ? "PRAGMA recursive_triggers=on" : "PRAGMA recursive_triggers=off"});
  return db;
}

bool World::altering() const {
  return std::any_of(script_.tables.begin(), script_.tables.end(),
                     [](int t) { return !table_specs()[static_cast<size_t>(t)].alters.empty(); });
}

bool World::constrained() const {
  return std::any_of(script_.tables.begin(), script_.tables.end(),
                     [](int t) { return table_specs()[static_cast<size_t>(t)].constrained; });
}

void World::create(int i, Begin begin) {
  Device& d = device(i);
  d.db = open(i, script_.seed * 64 + static_cast<uint64_t>(i) + 1);
  d.db->clock().set(kStart);
  d.now.model = Oracle(script_.tables, "", options_.mistakes, script_.enforced);
  for (int t : script_.tables) {
    const TableSpec& spec = table_specs()[static_cast<size_t>(t)];
    for (const ReferenceSpec& f : spec.references)
      if (std::find(script_.tables.begin(), script_.tables.end(), table_index(f.parent)) == script_.tables.end())
        return fail("setup", spec.label + " refers to " + f.parent + ", which the script leaves out");
  }
  if (!script_.files) {
    const bool altered = begin == Begin::empty_and_altered;
    Database* as = empty_database(script_.tables, begin == Begin::with_rows ? Stage::untracked
                                                  : altered                 ? Stage::altered
                                                                            : Stage::tracked);
    if (!as) return fail("setup", "tracking empty tables failed");
    for (int t : script_.tables)
      for (size_t n = table_specs()[static_cast<size_t>(t)].alters.size(); altered && n > 0; --n) d.now.model.alter(t);
    return d.db->begin_as(*as);
  }
  if (!create_tables(*d.db, script_.tables)) fail("setup", "creating a table: " + d.db->last_error(0));
}

void World::track(int i) {
  Device& d = device(i);
  auto rows = d.db->replica(0).tables();
  if (rows && rows->empty())
    if (Status status = track_tables(*d.db, script_.tables); !status)
      return fail("track", name_of(i) + ": " + status.error().message);
  auto site = d.db->replica(0).site();
  if (!site) return fail("track", name_of(i) + ": " + site.error().message);
  d.now.model.set_site(std::string(site->view()));
  d.now.model.track();
}

void World::begin() {
  for (int i = 0; i < script_.replicas && !failed(); ++i) {
    devices_.push_back({nullptr, {Oracle({}, "", {}), {}, {}, {}}, -1, {Oracle({}, "", {}), {}, {}, {}}, false, {}, 0});
    const bool rows =
        std::any_of(script_.before.begin(), script_.before.end(), [&](const Step& s) { return s.replica == i; });
    create(i, rows ? Begin::with_rows : Begin::empty);
  }
  for (const Step& step : script_.before) {
    if (failed()) return;
    if (is_statement(step.op)) statement(step);
  }
  for (int i = 0; i < devices() && !failed(); ++i) {
    track(i);
    observe(i);
  }
}

int World::add_device() {
  devices_.push_back({nullptr, {Oracle({}, "", {}), {}, {}, {}}, -1, {Oracle({}, "", {}), {}, {}, {}}, false, {}, 0});
  int i = devices() - 1;
  create(i, Begin::empty_and_altered);
  if (!failed()) track(i);
  alter_all(i);
  return i;
}

void World::expect_busy(int i, const std::string& what, Code code) {
  if (code != Code::busy)
    fail("busy", name_of(i) + ": " + what + " while another connection writes said '" + std::string(code_name(code)) +
                     "', not 'busy'");
}

void World::check_rows(int i, int connection, int table) {
  if (failed()) return;
  Device& d = device(i);
  bool other = d.owner >= 0 && d.owner != connection;
  // SQLite's memdb has no snapshots: nobody reads while another connection writes.
  if (other && !script_.files) return;
  const Oracle& model = other ? d.before.model : d.now.model;
  if (constrained()) check_parked(i, connection, model), table = -1;
  for (int t : script_.tables) {
    if (table >= 0 && t != table) continue;
    const TableSpec& spec = table_specs()[static_cast<size_t>(t)];
    std::map<Key, std::vector<Value>> actual, expected = model.visible(t);
    const bool altered = !other && d.now.altering && d.now.altering->table == t;
    if (altered) expected = d.now.altering->rows;
    if (!d.db->rows(connection, altered ? spec_at(t, d.now.altering->version) : model.spec(t), actual))
      return fail("read", name_of(i) + ": reading " + spec.label + ": " + d.db->last_error(connection));
    if (actual == expected) continue;
    auto print_row = [](const std::vector<Value>& row) { return print(Key(row)); };
    for (const auto& [key, row] : expected) {
      auto at = actual.find(key);
      if (at == actual.end())
        return fail("rows", name_of(i) + ": " + spec.label + " lacks row " + print(key) + " = " + print_row(row));
      if (at->second != row)
        return fail("rows", name_of(i) + ": " + spec.label + " row " + print(key) + " is " + print_row(at->second) +
                                ", should be " + print_row(row));
    }
    for (const auto& [key, row] : actual)
      if (!expected.count(key))
        return fail("rows", name_of(i) + ": " + spec.label + " has row " + print(key) + " = " + print_row(row) +
                                ", which should not be");
  }
}

void World::check_parked(int i, int connection, const Oracle& model) {
  if (!model.tracked()) return;
  std::map<std::string, std::string> actual, expected;
  for (const auto& [row, why] : model.parked())
    expected[model.spec(row.first).name + " [\"" + row.second[0].bytes + "\"]"] = parked_name(why);
  std::vector<std::vector<Value>> found;
  if (!device(i).db->query(connection, "SELECT table_name, key, reason FROM rejoin_aside WHERE frame IS NULL", found))
    return fail("read", name_of(i) + ": reading rejoin_aside: " + device(i).db->last_error(connection));
  for (const auto& row : found) {
    std::string& why = actual[row[0].bytes + " " + row[1].bytes] = row[2].bytes;
    for (Parked p : {Parked::check, Parked::unique, Parked::foreign_key})
      if (row[2].bytes.find(parked_name(p)) != std::string::npos) why = parked_name(p);
    if (row[2].bytes.find("shown without") != std::string::npos) why = parked_name(Parked::stand_in);
  }
  auto list = [](const std::map<std::string, std::string>& rows) {
    std::string out;
    for (const auto& [row, why] : rows) out += "  " + row + " " + why + "\n";
    return out;
  };
  if (actual != expected)
    fail("parked", name_of(i) + ": rejoin_aside lists\n" + list(actual) + "but should list\n" + list(expected));
}

void World::settle(int i, int c) {
  if (!constrained() || failed()) return;
  if (device(i).owner < 0) return observe(i);
  device(i).now.unnoticed.clear();
  device(i).now.model.settle();
  check_rows(i, c);
}

// It is a deletion all the same, but nobody can say what of, so the oracle leaves it out
// (tests/app_schema_merge_test.cc has it).
bool World::loses_values(const Step& step) {
  Device& d = device(step.replica);
  if (step.op != Op::replace && step.op != Op::rekey_or_replace) return false;
  if (script_.recursive || !d.now.unnoticed.count(step.table)) return false;
  if (d.owner < 0) observe(step.replica);
  return d.now.unnoticed.count(step.table) > 0;
}

void World::statement(const Step& written) {
  Device& d = device(written.replica);
  if (loses_values(written)) return;
  auto known = std::find(script_.tables.begin(), script_.tables.end(), written.table);
  if (known == script_.tables.end()) return;
  // What it would say to a table that another connection is changing is SQLite's own business.
  if (d.owner >= 0 && d.owner != written.connection &&
      (altering(written.replica) || d.now.model.versions() != d.before.model.versions()))
    return;
  const bool altered = d.now.altering && d.now.altering->table == written.table;
  const TableSpec& spec = altered ? spec_at(written.table, d.now.altering->version) : d.now.model.spec(written.table);
  Step step = written;
  step.key = step.key.empty() ? Key() : key_now(spec, step.key);
  step.to = step.to.empty() ? Key() : key_now(spec, step.to);
  // What the script would write to columns that are not here it cannot.
  std::erase_if(step.set, [&](const auto& entry) { return spec.columns[static_cast<size_t>(entry.first)].absent; });
  auto [sql, values] = sql_of(step, spec);
  int rc = d.db->run(step.connection, sql, values);
  std::string what = name_of(step.replica) + ": " + std::string(op_name(step.op)) + " on " + spec.label;
  if (d.owner >= 0 && d.owner != step.connection) {
    // A connection that has not seen a change of the table yet, and cannot look now, knows no such column.
    const bool unseen = altering() && rc == SQLITE_ERROR;
    if ((rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_LOCKED && !unseen)
      fail("busy", what + " while another connection writes gave code " + std::to_string(rc));
    return check_rows(step.replica, step.connection, step.table);
  }
  Outcome outcome =
      altered ? d.now.model.write(*d.now.altering, step) : apply_to(d.now.model, step, d.db->clock().now_ms());
  int expected = outcome == Outcome::done ? SQLITE_OK : SQLITE_CONSTRAINT;
  if ((rc & 0xff) != expected)
    return fail("outcome", what + " gave code " + std::to_string(rc) + " (" + d.db->last_error(step.connection) +
                               "), should be " + std::to_string(expected));
  if (d.owner == step.connection) d.wrote = true;
  check_rows(step.replica, step.connection, step.table);
}

void World::transaction(const Step& step) {
  Device& d = device(step.replica);
  int c = step.connection;
  auto run = [&](const std::string& sql) {
    int rc = d.db->run(c, sql);
    if (rc != SQLITE_OK) fail("transaction", name_of(step.replica) + ": " + sql + ": " + d.db->last_error(c));
  };
  std::string name = "s" + std::to_string(step.number);
  auto saved =
      std::find_if(d.savepoints.rbegin(), d.savepoints.rend(), [&](const auto& s) { return s.first == step.number; });
  bool inside = d.owner == c;
  switch (step.op) {
    case Op::begin:
      if (d.owner >= 0) return;
      run("BEGIN IMMEDIATE");
      d.before = d.now, d.owner = c, d.wrote = false;
      break;
    case Op::savepoint:
      if (d.owner >= 0 && !inside) return;
      run("SAVEPOINT " + name);
      if (!inside) {
        // A savepoint alone takes no lock; a write that finds no row does, and keeps the model simple.
        run("DELETE FROM " + quoted(d.now.model.spec(script_.tables[0]).name) + " WHERE 0");
        d.before = d.now, d.owner = c, d.wrote = false;
      }
      d.savepoints.emplace_back(step.number, d.now);
      break;
    case Op::release: {
      if (!inside || saved == d.savepoints.rend()) return;
      run("RELEASE " + name);
      d.savepoints.erase(std::prev(saved.base()), d.savepoints.end());
      if (sqlite3_get_autocommit(d.db->connection(c))) d.owner = -1, d.savepoints.clear();
      if (d.owner < 0) settle_alter(step.replica);
      break;
    }
    case Op::rollback_to:
      if (!inside || saved == d.savepoints.rend()) return;
      run("ROLLBACK TO " + name);
      if (!d.now.model.rollback_is_ignored()) d.now = saved->second;
      d.savepoints.erase(saved.base(), d.savepoints.end());
      break;
    case Op::commit:
      if (!inside) return;
      run("COMMIT");
      d.owner = -1, d.savepoints.clear();
      settle_alter(step.replica);
      break;
    case Op::rollback:
      if (!inside) return;
      return end_transaction(step.replica);
    case Op::reopen: {
      if (inside) {
        d.now = d.before;
        d.owner = -1, d.savepoints.clear();
      }
      // The other one keeps a database in memory alive meanwhile.
      d.db->connection(c == 0 ? 1 : 0);
      int rc = d.db->close(c);
      if (rc != SQLITE_OK)
        fail("close", name_of(step.replica) + ": closing a connection gave code " + std::to_string(rc));
      break;
    }
    default:
      return;
  }
  check_rows(step.replica, c);
}

void World::end_transaction(int i) {
  Device& d = device(i);
  if (d.owner < 0) return;
  int c = d.owner;
  if (d.db->run(c, "ROLLBACK") != SQLITE_OK) fail("transaction", name_of(i) + ": ROLLBACK: " + d.db->last_error(c));
  if (!d.now.model.rollback_is_ignored()) d.now = d.before;
  d.owner = -1, d.savepoints.clear();
  check_rows(i, c);
}

void World::restore(const Step& written) {
  Step step = written;
  Device& d = device(step.replica);
  int c = step.connection & 1;
  if (altering(step.replica)) return;
  if (std::find(script_.tables.begin(), script_.tables.end(), step.table) == script_.tables.end()) return;
  step.key = key_now(d.now.model.spec(step.table), step.key);
  const TableSpec& spec = d.now.model.spec(step.table);
  // What shows decides whether the row can come back.
  if (unforeseeable(step.replica)) return;
  if (d.owner < 0 || d.owner == c) settle(step.replica, c);
  std::vector<crdt::ValueRef> key;
  for (const Value& v : step.key) key.push_back(v.ref());
  auto result = d.db->replica(c).restore(spec.name, key);
  std::string what = name_of(step.replica) + ": restore of " + spec.label + " " + print(step.key);
  if (d.owner >= 0 && d.owner != c) {
    if (result.ok()) return fail("busy", what + " worked while another connection writes");
    return expect_busy(step.replica, "restore", result.error().code);
  }
  bool changed = false;
  Outcome outcome = d.now.model.restore(step.table, step.key, d.db->clock().now_ms(), changed);
  if (outcome == Outcome::refused) {
    if (result.ok()) fail("restore", what + " worked though there is nothing to restore");
    return;
  }
  if (!result.ok()) return fail("restore", what + ": " + result.error().message);
  if (*result != changed)
    return fail("restore", what + " said " + (*result ? "restored" : "alive already") + ", should be the opposite");
  if (d.owner == c) d.wrote = true;
  settle(step.replica, c);
  check_rows(step.replica, c, step.table);
}

void World::compact(const Step& step) {
  Device& d = device(step.replica);
  int c = step.connection & 1;
  if (unforeseeable(step.replica) || altering(step.replica)) return;
  // Nothing in a script is older than a day, so no deletion is forgotten.
  auto gone = d.db->replica(c).compact(step.number ? std::optional(step.number) : std::nullopt);
  if (!gone && !(d.owner >= 0 && gone.error().code == (d.owner == c ? Code::in_transaction : Code::busy)))
    return fail("compact", gone.error().message);
  if (gone) settle(step.replica, c);
  observe(step.replica);
}

std::vector<std::pair<int, Key>> World::forget(int i) {
  Device& d = device(i);
  constexpr int64_t kDay = 86'400'000;
  d.clock_offset += 60 * kDay;
  d.db->clock().set(kStart + d.clock_offset);
  observe(i);
  if (failed()) return {};
  std::vector<std::pair<int, Key>> rows;
  if (auto gone = d.db->replica(0).compact(30); !gone) return fail("compact", gone.error().message), rows;
  rows = d.now.model.forget();
  observe(i);
  check_rows(i, 0);
  return rows;
}

void World::alter(const Step& step) {
  Device& d = device(step.replica);
  int c = step.connection & 1;
  if (std::find(script_.tables.begin(), script_.tables.end(), step.table) == script_.tables.end()) return;
  const TableSpec& spec = d.now.model.spec(step.table);
  if (altering(step.replica)) return alter_within(step);
  if (spec.version == std::ssize(spec.alters) || unforeseeable(step.replica)) return;
  observe(step.replica);
  const AlterSpec& change = spec.alters[static_cast<size_t>(spec.version)];
  std::string what = name_of(step.replica) + ": " + change.sql;
  const bool rekeys = change.kind == AlterSpec::rekey, renames = change.kind == AlterSpec::rename_table;
  const bool plainly =
      step.number == 1 && change.kind != AlterSpec::drop && change.kind != AlterSpec::rename && !rekeys && d.owner < 0;
  auto before = d.owner < 0 ? d.db->replica(c).seq() : 0;
  if (plainly && d.db->run(step.connection, change.sql) != SQLITE_OK)
    return fail("alter", what + ": " + d.db->last_error(step.connection));
  // There a column's new name is only told from a new column where a row holds a value of its own (docs/sql.md).
  const bool between = rekeys || (step.number == 2 && change.kind != AlterSpec::rename);
  Status status = plainly   ? d.db->replica(c).fold()
                  : between ? alter_between(*d.db, c, spec, change)
                            : d.db->replica(c).alter(change.sql);
  if (d.owner >= 0 && d.owner != c) {
    if (status) return fail("busy", what + " worked while another connection writes");
    return expect_busy(step.replica, what, status.error().code);
  }
  if (!status) return fail("alter", what + ": " + status.error().message);
  if (d.owner == c) d.wrote = true;
  d.now.model.alter(step.table);
  // Under the new name, or with the new key, all rows are news.
  if (d.owner < 0 && !renames && !rekeys) {
    auto after = d.db->replica(c).seq();
    if (!before || !after || *before != *after) fail("news", what + ": it made news for others");
  }
  observe(step.replica);
  settle(step.replica, c);
  check_rows(step.replica, c, step.table);
}

void World::alter_begin(const Step& step) {
  Device& d = device(step.replica);
  int c = step.connection & 1;
  if (std::find(script_.tables.begin(), script_.tables.end(), step.table) == script_.tables.end()) return;
  // With constraints what is hidden would have to be told apart from what is gone.
  if (constrained() || altering(step.replica) || unforeseeable(step.replica)) return;
  observe(step.replica);
  if (failed()) return;
  const TableSpec& spec = d.now.model.spec(step.table);
  const std::string what = name_of(step.replica) + ": rejoin_alter_begin of " + spec.label;
  Status status = d.db->replica(c).alter_begin(spec.name);
  if (d.owner >= 0 && d.owner != c) {
    if (status) return fail("busy", what + " worked while another connection writes");
    return expect_busy(step.replica, what, status.error().code);
  }
  if (!status) return fail("alter", what + ": " + status.error().message);
  if (d.owner < 0) d.before = d.now, d.owner = c;
  d.wrote = true;
  d.now.altering = d.now.model.begin(step.table);
  check_rows(step.replica, c, step.table);
}

void World::alter_within(const Step& step) {
  Device& d = device(step.replica);
  Oracle::Altering& altering = *d.now.altering;
  const TableSpec& spec = spec_at(step.table, altering.version);
  if (step.table != altering.table || d.owner != (step.connection & 1) || spec.version == std::ssize(spec.alters))
    return;
  const AlterSpec& change = spec.alters[static_cast<size_t>(spec.version)];
  // What else there is brings rows that wait, or cannot always be told (docs/sql.md).
  if (change.kind != AlterSpec::add && change.kind != AlterSpec::drop) return;
  if (d.db->run(d.owner, change.sql) != SQLITE_OK)
    return fail("alter", name_of(step.replica) + ": " + change.sql + ": " + d.db->last_error(d.owner));
  d.now.model.alter(altering);
  check_rows(step.replica, d.owner, step.table);
}

void World::alter_commit(const Step& step) {
  Device& d = device(step.replica);
  if (!altering(step.replica) || d.owner != (step.connection & 1)) return;
  const int c = d.owner, table = d.now.altering->table;
  const std::string what = name_of(step.replica) + ": rejoin_alter_commit of " + d.now.model.spec(table).label;
  if (Status status = d.db->replica(c).alter_commit(d.now.model.spec(table).name); !status)
    return fail("alter", what + ": " + status.error().message);
  d.now.model.commit(*d.now.altering, d.db->clock().now_ms());
  d.now.altering.reset();
  if (sqlite3_get_autocommit(d.db->connection(c))) d.owner = -1, d.savepoints.clear();
  observe(step.replica);
  check_rows(step.replica, c, table);
}

void World::settle_alter(int i) {
  Device& d = device(i);
  if (!altering(i) || failed()) return;
  if (Status status = d.db->replica(0).fold(); !status)
    return fail("alter", name_of(i) + ": settling what COMMIT ended: " + status.error().message);
  d.now.model.commit(*d.now.altering, d.db->clock().now_ms());
  d.now.altering.reset();
  observe(i);
}

void World::index(const Step& step) {
  Device& d = device(step.replica);
  const int c = step.connection;
  if (std::find(script_.tables.begin(), script_.tables.end(), step.table) == script_.tables.end()) return;
  const bool plainly = c > 0, another = d.owner >= 0 && d.owner != c;
  if (!plainly && !another) {
    // What shows decides whether it can be made, and Rejoin settles that first.
    if (unforeseeable(step.replica)) return;
    fold(step);
    if (failed()) return;
  }
  const TableSpec& spec = d.now.model.spec(step.table);
  if (spec.late.empty()) return;
  const size_t which = static_cast<size_t>(step.number) % spec.late.size();
  const bool drops =
      d.now.model.versions().contains(step.table) && (d.now.model.versions().at(step.table).late >> which & 1);
  const std::string sql = drops ? "DROP INDEX " + spec.late[which].name : create_late_index(spec, which);
  if (sql.empty()) return;
  const std::string what = name_of(step.replica) + ": " + sql;
  int rc = SQLITE_OK;
  Status status;
  // Else SQLite may say that an index is there which another connection has dropped since.
  if (plainly && !another) (void)d.db->run(c, "SELECT 1 FROM sqlite_schema");
  if (plainly)
    rc = d.db->run(c, sql);
  else
    status = d.db->replica(c).alter(sql);
  if (another) {
    if (!plainly && status) return fail("busy", what + " worked while another connection writes");
    if (!plainly) return expect_busy(step.replica, what, status.error().code);
    // It may not have seen a change of the schema, and cannot look now.
    if ((rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_LOCKED && (rc & 0xff) != SQLITE_ERROR)
      fail("busy", what + " while another connection writes gave code " + std::to_string(rc));
    return;
  }
  const bool expected = d.now.model.toggle_index(step.table, which) == Outcome::done;
  const bool worked = plainly ? rc == SQLITE_OK : status.ok();
  if (worked != expected)
    return fail("index", what + (expected ? " was refused: " : " worked over rows that it forbids") +
                             (worked    ? ""
                              : plainly ? d.db->last_error(c)
                                        : status.error().message));
  if (!worked && (plainly ? (rc & 0xff) != SQLITE_CONSTRAINT : status.error().code != Code::bad_argument))
    return fail("index", what + " was refused otherwise: " + (plainly ? d.db->last_error(c) : status.error().message));
  if (worked && d.owner == c) d.wrote = true;
  // What plain SQL does is noticed later.
  if (plainly && worked && !drops) d.now.unnoticed.insert(step.table);
  if (!plainly) settle(step.replica, c);
  check_rows(step.replica, c, step.table);
}

void World::alter_all(int i) {
  Step step;
  step.op = Op::alter, step.replica = i;
  for (int t : script_.tables) {
    step.table = t;
    for (size_t n = table_specs()[static_cast<size_t>(t)].alters.size(); n > 0 && !failed(); --n) alter(step);
  }
}

void World::fold(const Step& step) {
  Device& d = device(step.replica);
  int c = step.connection & 1;
  if (unforeseeable(step.replica) || altering(step.replica)) return;
  Status status = d.db->replica(c).fold();
  if (status) return settle(step.replica, c);
  if (!(d.owner >= 0 && d.owner != c && status.error().code == Code::busy)) fail("fold", status.error().message);
}

std::optional<Said> World::actual_state(int i) {
  auto frame = device(i).db->replica(0).changeset(0);
  if (!frame) return fail("changeset", name_of(i) + ": changeset(0): " + frame.error().message), std::nullopt;
  if (!*frame) return Said();
  auto decoded = decode_frame(**frame, device(i).now.model.versions());
  if (!decoded)
    return fail("changeset", name_of(i) + ": changeset(0) does not decode: " + decoded.error().message), std::nullopt;
  return std::move(*decoded);
}

void World::observe(int i) {
  if (failed()) return;
  Device& d = device(i);
  if (d.owner >= 0) return;
  if (d.observed_model == d.now.model.revision() && d.observed_changes == d.db->changes()) return;
  auto state = actual_state(i);
  if (!state) return;
  std::string wrong = d.now.model.observe(*state);
  if (!wrong.empty())
    return fail("state", name_of(i) + ": " + wrong + "\nits state:\n" + print(state->rows) + "kept aside:\n" +
                             print(state->aside));
  if (constrained()) {
    d.now.unnoticed.clear();
    d.now.model.settle();
    check_rows(i, 0);
  }
  d.observed_model = d.now.model.revision();
  d.observed_changes = d.db->changes();
}

std::optional<Letter> World::write_letter(int source, int to, int connection) {
  Device& d = device(source);
  int c = connection & 1;
  Letter letter;
  letter.source = source;
  letter.generation = d.generation;
  letter.since = device(to).now.from[source].acknowledged;
  auto frame = d.db->replica(c).changeset(letter.since);
  if (d.owner == c) {
    if (frame.ok() || frame.error().code != Code::in_transaction)
      fail("export",
           name_of(source) + ": a changeset was made inside an open write transaction, or refused for another reason");
    return std::nullopt;
  }
  if (d.owner >= 0) {
    if (!frame.ok()) expect_busy(source, "changeset", frame.error().code);
    return std::nullopt;
  }
  if (!frame) return fail("changeset", name_of(source) + ": " + frame.error().message), std::nullopt;
  std::vector<std::vector<Value>> through;
  if (!d.db->query(c, "SELECT coalesce(max(seq), 0) FROM rejoin_log", through))
    return fail("read", name_of(source) + ": reading the log: " + d.db->last_error(c)), std::nullopt;
  letter.through = through[0][0].integer;
  observe(source);
  if (failed() || !*frame) return std::nullopt;
  auto content = decode_frame(**frame, d.now.model.versions());
  if (!content)
    return fail("changeset", name_of(source) + ": its changeset does not decode: " + content.error().message),
           std::nullopt;
  std::string wrong = d.now.model.check_frame(*content);
  if (!wrong.empty()) return fail("changeset", name_of(source) + ": " + wrong), std::nullopt;
  letter.frame = std::move(**frame);
  letter.content = std::move(*content);
  return letter;
}

bool World::prepare_merge(int i, const std::vector<const Said*>& contents) {
  Device& d = device(i);
  if (unforeseeable(i) || altering(i)) return false;
  bool ambiguous = false;
  for (const Said* s : contents) ambiguous |= d.now.model.ambiguous(*s);
  if (!ambiguous) return true;
  if (d.owner >= 0) return false;
  observe(i);
  return !failed();
}

void World::deliver(const Letter& letter, int to, int connection) {
  Device& d = device(to);
  int c = connection & 1;
  std::vector<const Said*> contents = {&letter.content};
  for (const auto& [frame, content] : d.now.from[letter.source].staged) contents.push_back(&content);
  if (!prepare_merge(to, contents)) return;
  auto outcome = d.db->replica(c).apply(letter.frame);
  if (d.owner >= 0 && d.owner != c) {
    if (outcome.ok()) return fail("busy", name_of(to) + ": apply worked while another connection writes");
    return expect_busy(to, "apply", outcome.error().code);
  }
  if (!outcome) return fail("apply", name_of(to) + ": " + outcome.error().message);
  // It may be what pages that wait go on with.
  size_t changed = 0;
  Position& position = d.now.from[letter.source];
  if (ends(letter.frame, position.staged)) {
    for (const auto& [frame, content] : position.staged) changed += d.now.model.merge(content);
    position.staged.clear();
  } else if (tells_all_of(letter.frame, position.staged)) {
    // Their rows come with it, perhaps by other names.
    position.staged.clear();
  }
  changed += d.now.model.merge(letter.content);
  if (d.owner == c) d.wrote = true;
  settle(to, c);
  if (outcome->staged || (outcome->rows_parked && !constrained() && !altering()) || !outcome->refused.empty())
    return fail("apply", name_of(to) + ": a whole changeset was staged, or rows of it parked or refused");
  check_rows(to, c);
  // A row may be told of twice, with what its source lacks.
  if (outcome->rows_changed != changed && !altering())
    fail("count", name_of(to) + ": apply said that " + std::to_string(outcome->rows_changed) +
                      " rows changed, should be " + std::to_string(changed));
  // Everything up to `through` is known now, unless something between was never delivered.
  if (letter.generation != device(letter.source).generation) return;
  if (letter.since <= position.acknowledged) position.acknowledged = std::max(position.acknowledged, letter.through);
}

bool World::take_page(int to, int source, const PageSent& page, int c, bool move, bool may_gap) {
  Device& d = device(to);
  Position& position = d.now.from[source];
  std::vector<const Said*> contents;
  for (const auto& [frame, content] : position.staged) contents.push_back(&content);
  contents.push_back(&page.content);
  if (!prepare_merge(to, contents)) return false;
  auto outcome = d.db->replica(c).apply(page.frame);
  if (d.owner >= 0 && d.owner != c) {
    if (outcome.ok()) return fail("busy", name_of(to) + ": apply worked while another connection writes"), false;
    return expect_busy(to, "apply", outcome.error().code), false;
  }
  if (!outcome) {
    if (may_gap && outcome.error().code == Code::gap) return check_rows(to, c), false;
    return fail("page", name_of(to) + ": a page from " + name_of(source) + ": " + outcome.error().message), false;
  }
  if (d.owner == c) d.wrote = true;
  // Pages that continue each other become visible together. One that is complete by itself does so at once and waits
  // for nobody.
  bool continues = !position.staged.empty() && page.from == position.staged_next;
  auto again = std::find_if(position.staged.begin(), position.staged.end(),
                            [&](const auto& s) { return s.first == page.frame; });
  if (outcome->staged) {
    if (again == position.staged.end()) {
      if (!continues) position.staged.clear();
      position.staged.emplace_back(page.frame, page.content);
      position.staged_next = page.next;
    }
  } else {
    if (ends(page.frame, position.staged)) {
      for (const auto& [frame, content] : position.staged) d.now.model.merge(content);
      position.staged.clear();
    } else if (tells_all_of(page.frame, position.staged)) {
      position.staged.clear();
    }
    d.now.model.merge(page.content);
  }
  if (move) position.cursor = page.next;
  settle(to, c);
  check_rows(to, c);
  return true;
}

void World::page(const Step& step) {
  int source = step.peer, to = step.replica, c = step.connection & 1;
  if (source == to) return;
  Device& s = device(source);
  if (s.owner >= 0) return;
  auto read = [&](const Bytes& cursor) -> std::optional<PageSent> {
    sqlite::PageRequest request;
    request.cursor = cursor;
    request.pass_on = true;
    request.max_bytes = static_cast<uint64_t>(std::max<int64_t>(step.number, 1));
    auto page = s.db->replica(0).page(request);
    if (!page) return fail("page", name_of(source) + ": " + page.error().message), std::nullopt;
    if (page->frame.empty()) return std::nullopt;
    observe(source);
    if (failed()) return std::nullopt;
    auto decoded = decode_frame(page->frame, s.now.model.versions());
    if (!decoded)
      return fail("page", name_of(source) + ": its page does not decode: " + decoded.error().message), std::nullopt;
    std::string wrong = s.now.model.check_frame(*decoded);
    if (!wrong.empty()) return fail("page", name_of(source) + ": " + wrong), std::nullopt;
    return PageSent{cursor, page->next, page->frame, std::move(*decoded)};
  };
  auto first = read(device(to).now.from[source].cursor);
  if (!first) return;
  switch (step.fate) {
    case Fate::lose:
      return;
    case Fate::arrive:
      take_page(to, source, *first, c, true, false);
      return;
    case Fate::twice:
      if (take_page(to, source, *first, c, true, false)) take_page(to, source, *first, c, false, true);
      return;
    case Fate::early: {
      auto second = read(first->next);
      if (failed()) return;
      if (second) take_page(to, source, *second, c, false, true);
      if (failed()) return;
      // The other page may have begun anew, and so does the reader then.
      if (!take_page(to, source, *first, c, true, true)) device(to).now.from[source].cursor.clear();
      if (failed() || !second || device(to).now.from[source].cursor.empty()) return;
      take_page(to, source, *second, c, true, false);
      return;
    }
  }
}

void World::clone(int to, int from) {
  if (to == from || device(to).owner >= 0 || device(from).owner >= 0) return;
  Device& d = device(to);
  int64_t now = d.db->clock().now_ms();
  d.db = nullptr;
  d.db = open(to, script_.seed * 64 + 32 + static_cast<uint64_t>(step_ + 2) * 1024);
  d.db->clock().set(now);
  d.db->copy_from(*device(from).db);
  ++d.generation;
  d.observed_changes = -1;
  d.now = device(from).now;
  // A copied file is found out by itself; memory has nothing to tell it by.
  Status status = script_.files ? d.db->replica(0).fold() : d.db->replica(0).take_new_identity();
  if (!status) return fail("clone", name_of(to) + ": " + status.error().message);
  auto site = d.db->replica(0).site();
  if (!site) return fail("clone", name_of(to) + ": " + site.error().message);
  std::string id(site->view());
  for (int i = 0; i < devices(); ++i)
    if (device(i).now.model.site() == id) return fail("clone", name_of(to) + " still has the site id of " + name_of(i));
  auto state = actual_state(to);
  if (!state) return;
  d.now.model.move_to_site(id, state->rows);
  d.now.from.erase(to);
  // Positions in the old file mean nothing in the new one, whatever the others roll back to.
  for (int i = 0; i < devices(); ++i) {
    if (i == to) continue;
    device(i).now.from[to] = device(i).before.from[to] = Position();
    for (auto& [name, memory] : device(i).savepoints) memory.from[to] = Position();
  }
  observe(to);
  check_rows(to, 0);
}

}  // namespace rejoin::sim
