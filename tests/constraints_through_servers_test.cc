// P2, P9 through a server, over both stores: writes that the application's constraints allow only one of, and what its
// triggers do about others'. Nothing is lost, nothing blocks: each row is the same at a device and at the server, or
// the device lists it as parked or rejected. PostgreSQL is the referee, the embedded store passes everything on.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>

#include "tests/support/store_world.h"

namespace rejoin::testing {
namespace {

struct Outcome {
  std::string rows;     // of the server
  std::string refused;  // what devices list as rejected, as: device table["key"]
};

// Cases of one group share their devices, so that each is what the others might wait for, or be lost behind.
enum class Group { values, references };

struct Case {
  const char* name;
  std::vector<StoreTable> tables = {};  // each with a text key `id`
  std::string indexes = {};             // on devices and at the server
  std::string in_postgres = {};         // instead of these in PostgreSQL; empty: the same
  std::string on_devices = {};          // triggers and what is not synced
  std::string before = {};              // at the first device, and everywhere before the others are
  std::string first = {}, second = {};  // apart, in this order of time
  std::string query = {};
  // What all devices show with the embedded store, by this query, and list in rejoin_parked, as: table["key"]
  std::string rows = {}, parked = {};
  // PostgreSQL, when the older write reaches it first, and the younger. As `rows`, and nothing is refused, when left
  // out.
  std::optional<Outcome> older = {}, younger = {};
  // Shows nothing on any device, over both stores: rows of one with values of another, what triggers left behind.
  std::string never = {};
  Group group = Group::values;
};

const StoreTable kPlain{"plain", "id TEXT PRIMARY KEY, v TEXT", "id text PRIMARY KEY, v text"};

// A parent is deleted on one device while another makes a child of it.
Case deleted_parent(const char* name, const std::string& table, const std::string& action, const std::string& rows,
                    const Outcome& older, const Outcome& younger) {
  const std::string parents = table + "_lists", refers = " REFERENCES " + parents + " " + action;
  return {.name = name,
          .tables = {{parents, "id TEXT PRIMARY KEY", "id text PRIMARY KEY"},
                     {table, "id TEXT PRIMARY KEY, list TEXT" + refers + ", text TEXT",
                      "id text PRIMARY KEY, list text" + refers +
                          (action == "ON DELETE RESTRICT" ? "" : " DEFERRABLE INITIALLY DEFERRED") + ", text text"}},
          .before = "INSERT INTO " + parents + " VALUES('l')",
          .first = "DELETE FROM " + parents,
          .second = "INSERT INTO " + table + " VALUES('e', 'l', 'milk')",
          .query = "SELECT * FROM " + table,
          .rows = rows,
          .parked = table + "[\"e\"]\n",
          .older = older,
          .younger = younger,
          .group = Group::references};
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {.name = "TwoInsertsOfOneValue",
       .tables = {{"users", "id TEXT PRIMARY KEY, mail TEXT UNIQUE", "id text PRIMARY KEY, mail text UNIQUE"}},
       .first = "INSERT INTO users VALUES('2', 'e@x')",
       .second = "INSERT INTO users VALUES('1', 'e@x')",
       .query = "SELECT * FROM users ORDER BY id",
       .rows = "2|e@x\n",
       .parked = "users[\"1\"]\n",
       .older = Outcome{"2|e@x\n", "1 users[\"1\"]\n"},
       .younger = Outcome{"1|e@x\n", "0 users[\"2\"]\n"}},
      {.name = "UpdatesIntoOneValue",
       .tables = {{"members", "id TEXT PRIMARY KEY, mail TEXT UNIQUE", "id text PRIMARY KEY, mail text UNIQUE"}},
       .before = "INSERT INTO members VALUES('1', 'a'), ('2', 'b')",
       .first = "UPDATE members SET mail = 'c' WHERE id = '2'",
       .second = "UPDATE members SET mail = 'c' WHERE id = '1'",
       .query = "SELECT * FROM members ORDER BY id",
       .rows = "2|c\n",
       .parked = "members[\"1\"]\n",
       .older = Outcome{"1|a\n2|c\n", "1 members[\"1\"]\n"},
       .younger = Outcome{"1|c\n2|b\n", "0 members[\"2\"]\n"}},
      {.name = "UniqueOverSeveralColumns",
       .tables = {{"seats", "id TEXT PRIMARY KEY, line INTEGER, seat INTEGER, UNIQUE (line, seat)",
                   "id text PRIMARY KEY, line bigint, seat bigint, UNIQUE (line, seat)"}},
       .before = "INSERT INTO seats VALUES('1', 1, 1), ('2', 2, 2), ('3', 3, 1)",
       // Columns of one UNIQUE are columns of their own: (1, 2) of row 1, and row 3's own.
       .first = "UPDATE seats SET line = 2 WHERE id = '1'; UPDATE seats SET line = 4 WHERE id = '3'",
       .second = "UPDATE seats SET seat = 1 WHERE id = '2'; UPDATE seats SET seat = 4 WHERE id = '3'",
       .query = "SELECT * FROM seats ORDER BY id",
       .rows = "1|2|1\n3|4|4\n",
       .parked = "seats[\"2\"]\n",
       .older = Outcome{"1|2|1\n2|2|2\n3|4|4\n", "1 seats[\"2\"]\n"},
       .younger = Outcome{"1|1|1\n2|2|1\n3|4|4\n", "0 seats[\"1\"]\n"}},
      {.name = "APartialIndex",
       .tables = {{"offers", "id TEXT PRIMARY KEY, code TEXT, open INTEGER",
                   "id text PRIMARY KEY, code text, open bigint"}},
       .indexes = "CREATE UNIQUE INDEX offers_open ON offers(code) WHERE open > 0",
       .first = "INSERT INTO offers VALUES('1', 'x', 0), ('2', 'x', 1)",
       .second = "INSERT INTO offers VALUES('3', 'x', 0), ('4', 'x', 2)",
       .query = "SELECT * FROM offers ORDER BY id",
       .rows = "1|x|0\n2|x|1\n3|x|0\n",
       .parked = "offers[\"4\"]\n",
       .older = Outcome{"1|x|0\n2|x|1\n3|x|0\n", "1 offers[\"4\"]\n"},
       .younger = Outcome{"1|x|0\n3|x|0\n4|x|2\n", "0 offers[\"2\"]\n"}},
      {.name = "AnExpressionIndex",
       .tables = {{"names", "id TEXT PRIMARY KEY, name TEXT", "id text PRIMARY KEY, name text"}},
       .indexes = "CREATE UNIQUE INDEX names_lower ON names(lower(name))",
       .first = "INSERT INTO names VALUES('2', 'Mail')",
       .second = "INSERT INTO names VALUES('1', 'mAIL')",
       .query = "SELECT * FROM names ORDER BY id",
       .rows = "2|Mail\n",
       .parked = "names[\"1\"]\n",
       .older = Outcome{"2|Mail\n", "1 names[\"1\"]\n"},
       .younger = Outcome{"1|mAIL\n", "0 names[\"2\"]\n"}},
      {.name = "NoCase",
       .tables = {{"tags", "id TEXT PRIMARY KEY, tag TEXT COLLATE NOCASE UNIQUE", "id text PRIMARY KEY, tag text"}},
       .in_postgres = "CREATE UNIQUE INDEX tags_lower ON tags(lower(tag))",
       .before = "INSERT INTO tags VALUES('1', 'a'), ('2', 'b')",
       .first = "UPDATE tags SET tag = 'X' WHERE id = '1'",
       .second = "UPDATE tags SET tag = 'x' WHERE id = '2'",
       .query = "SELECT * FROM tags ORDER BY id",
       .rows = "1|X\n",
       .parked = "tags[\"2\"]\n",
       .older = Outcome{"1|X\n2|b\n", "1 tags[\"2\"]\n"},
       .younger = Outcome{"1|a\n2|x\n", "0 tags[\"1\"]\n"}},
      {.name = "ASwap",
       .tables = {{"swaps", "id TEXT PRIMARY KEY, v TEXT UNIQUE, note TEXT",
                   "id text PRIMARY KEY, v text UNIQUE, note text"}},
       .before = "INSERT INTO swaps VALUES('1', 'a', 'of 1'), ('2', 'b', 'of 2')",
       .first = "UPDATE swaps SET v = NULL WHERE id = '1'; UPDATE swaps SET v = 'a' WHERE id = '2';"
                "UPDATE swaps SET v = 'b' WHERE id = '1'",
       .second = "UPDATE swaps SET note = note || '!'",
       .query = "SELECT * FROM swaps ORDER BY id",
       .rows = "1|b|of 1!\n2|a|of 2!\n",
       .never = "SELECT * FROM swaps WHERE note NOT LIKE 'of ' || id || '%'",
       .group = Group::values},
      {.name = "ASwapOfDeferredValues",
       .tables = {{"deferred", "id TEXT PRIMARY KEY, v TEXT UNIQUE, note TEXT",
                   "id text PRIMARY KEY, v text UNIQUE DEFERRABLE INITIALLY DEFERRED, note text"}},
       .before = "INSERT INTO deferred VALUES('1', 'a', 'of 1'), ('2', 'b', 'of 2')",
       .first = "UPDATE deferred SET v = NULL WHERE id = '1'; UPDATE deferred SET v = 'a' WHERE id = '2';"
                "UPDATE deferred SET v = 'b' WHERE id = '1'",
       .second = "UPDATE deferred SET note = note || '!'",
       .query = "SELECT * FROM deferred ORDER BY id",
       .rows = "1|b|of 1!\n2|a|of 2!\n",
       .never = "SELECT * FROM deferred WHERE note NOT LIKE 'of ' || id || '%'",
       .group = Group::values},
      {.name = "AChain",
       .tables = {{"chains", "id TEXT PRIMARY KEY, v TEXT UNIQUE, note TEXT",
                   "id text PRIMARY KEY, v text UNIQUE, note text"}},
       .before = "INSERT INTO chains VALUES('1', 'a', 'of 1'), ('2', 'b', 'of 2'), ('3', 'c', 'of 3')",
       .first = "UPDATE chains SET v = 'd' WHERE id = '3'; UPDATE chains SET v = 'c' WHERE id = '2';"
                "UPDATE chains SET v = 'b' WHERE id = '1'; INSERT INTO chains VALUES('0', 'a', 'of 0')",
       .second = "UPDATE chains SET note = note || '!'",
       .query = "SELECT * FROM chains ORDER BY id",
       .rows = "0|a|of 0\n1|b|of 1!\n2|c|of 2!\n3|d|of 3!\n",
       .never = "SELECT * FROM chains WHERE note NOT LIKE 'of ' || id || '%'"},
      {.name = "InsertOrReplace",
       .tables = {{"replaced", "id TEXT PRIMARY KEY, v TEXT UNIQUE, note TEXT",
                   "id text PRIMARY KEY, v text UNIQUE, note text"}},
       .before = "INSERT INTO replaced VALUES('1', 'a', 'of 1'), ('2', 'b', 'of 2')",
       .first = "INSERT OR REPLACE INTO replaced VALUES('4', 'a', 'of 4')",
       .second = "UPDATE replaced SET note = 'of 1, edited' WHERE id = '1'",
       .query = "SELECT * FROM replaced ORDER BY id",
       .rows = "2|b|of 2\n4|a|of 4\n",
       .never = "SELECT * FROM replaced WHERE note NOT LIKE 'of ' || id || '%'"},
      {.name = "UpdateOrReplace",
       .tables = {{"updated", "id TEXT PRIMARY KEY, v TEXT UNIQUE, note TEXT",
                   "id text PRIMARY KEY, v text UNIQUE, note text"}},
       .before = "INSERT INTO updated VALUES('1', 'a', 'of 1'), ('2', 'b', 'of 2'), ('3', 'c', 'of 3')",
       .first = "UPDATE OR REPLACE updated SET v = 'b' WHERE id = '3'",
       .second = "INSERT OR REPLACE INTO updated VALUES('5', 'c', 'of 5')",
       .query = "SELECT * FROM updated ORDER BY id",
       .rows = "1|a|of 1\n5|c|of 5\n",
       .never = "SELECT * FROM updated WHERE note NOT LIKE 'of ' || id || '%'"},
      {.name = "TwoValidEditsThatACheckJoins",
       .tables = {{"spans", "id TEXT PRIMARY KEY, low INTEGER, high INTEGER, CHECK (low <= high)",
                   "id text PRIMARY KEY, low bigint, high bigint, CHECK (low <= high)"}},
       .before = "INSERT INTO spans VALUES('1', 1, 10)",
       .first = "UPDATE spans SET low = 8",
       .second = "UPDATE spans SET high = 5",
       .query = "SELECT low, high FROM spans",
       .rows = "1|5\n"},
      deleted_parent("AParentDeletedWhileAChildIsMade", "entries", "", "", {"", "1 entries[\"e\"]\n"},
                     {"e|l|milk\n", "0 entries_lists[\"l\"]\n"}),
      deleted_parent("ADeletionThatCascades", "cascading", "ON DELETE CASCADE", "", {"", "1 cascading[\"e\"]\n"},
                     {"", ""}),
      deleted_parent("ADeletionThatSetsNull", "nulled", "ON DELETE SET NULL", "e|null|milk\n",
                     {"", "1 nulled[\"e\"]\n"}, {"e|null|milk\n", ""}),
      deleted_parent("ADeletionThatIsRestricted", "restricting", "ON DELETE RESTRICT", "",
                     {"", "1 restricting[\"e\"]\n"}, {"e|l|milk\n", "0 restricting_lists[\"l\"]\n"}),
      {.name = "ASelfReference",
       .tables = {{"tree", "id TEXT PRIMARY KEY, up TEXT REFERENCES tree",
                   "id text PRIMARY KEY, up text REFERENCES tree DEFERRABLE INITIALLY DEFERRED"}},
       .before = "INSERT INTO tree VALUES('root', 'root'), ('1', 'root')",
       .first = "DELETE FROM tree WHERE id = '1'",
       .second = "INSERT INTO tree VALUES('11', '1'), ('111', '11')",
       .query = "SELECT * FROM tree ORDER BY id",
       .rows = "root|root\n",
       .parked = "tree[\"11\"]\ntree[\"111\"]\n",
       .older = Outcome{"root|root\n", "1 tree[\"11\"]\n1 tree[\"111\"]\n"},
       .younger = Outcome{"1|root\n11|1\n111|11\nroot|root\n", "0 tree[\"1\"]\n"},
       .group = Group::references},
      {.name = "ACycle",
       .tables = {{"left_", "id TEXT PRIMARY KEY, r TEXT REFERENCES right_ DEFERRABLE INITIALLY DEFERRED",
                   "id text PRIMARY KEY, r text"},
                  {"right_", "id TEXT PRIMARY KEY, l TEXT REFERENCES left_ DEFERRABLE INITIALLY DEFERRED",
                   "id text PRIMARY KEY, l text REFERENCES left_ DEFERRABLE INITIALLY DEFERRED"}},
       .in_postgres = "ALTER TABLE left_ ADD FOREIGN KEY (r) REFERENCES right_ DEFERRABLE INITIALLY DEFERRED",
       .before = "BEGIN; INSERT INTO left_ VALUES('1', '2'); INSERT INTO right_ VALUES('2', '1'); COMMIT",
       .first = "BEGIN; DELETE FROM left_; DELETE FROM right_; COMMIT",
       .second = "INSERT INTO left_ VALUES('3', '2')",
       .query = "SELECT id FROM left_ UNION ALL SELECT id FROM right_ ORDER BY 1",
       .rows = "",
       .parked = "left_[\"3\"]\n",
       .older = Outcome{"", "1 left_[\"3\"]\n"},
       .younger = Outcome{"1\n2\n3\n", "0 left_[\"1\"]\n0 right_[\"2\"]\n"},
       .group = Group::references},
      {.name = "AChildThatWasWrittenUnenforced",
       .tables = {{"homes", "id TEXT PRIMARY KEY", "id text PRIMARY KEY"},
                  {"guests", "id TEXT PRIMARY KEY, home TEXT REFERENCES homes",
                   "id text PRIMARY KEY, home text REFERENCES homes DEFERRABLE INITIALLY DEFERRED"}},
       .first = "PRAGMA foreign_keys = OFF; INSERT INTO guests VALUES('early', 'h'), ('lost', 'nowhere')",
       .second = "INSERT INTO homes VALUES('h')",
       .query = "SELECT * FROM guests ORDER BY id",
       .rows = "early|h\n",
       .parked = "guests[\"lost\"]\n",
       .older = Outcome{"", "0 guests[\"early\"]\n0 guests[\"lost\"]\n"},
       .younger = Outcome{"early|h\n", "0 guests[\"lost\"]\n"},
       .group = Group::references},
      {.name = "AFullTextIndexThatTriggersKeep",
       .tables = {{"notes", "id TEXT PRIMARY KEY, title TEXT UNIQUE, body TEXT",
                   "id text PRIMARY KEY, title text UNIQUE, body text"}},
       .on_devices =
           "CREATE VIRTUAL TABLE search USING fts5(body, content='notes', content_rowid='rowid');"
           "CREATE TRIGGER notes_i AFTER INSERT ON notes BEGIN INSERT INTO search(rowid, body) VALUES(NEW.rowid, "
           "NEW.body); END;"
           "CREATE TRIGGER notes_d AFTER DELETE ON notes BEGIN INSERT INTO search(search, rowid, body) "
           "VALUES('delete', OLD.rowid, OLD.body); END;"
           "CREATE TRIGGER notes_u AFTER UPDATE ON notes BEGIN INSERT INTO search(search, rowid, body) "
           "VALUES('delete', OLD.rowid, OLD.body); INSERT INTO search(rowid, body) VALUES(NEW.rowid, NEW.body); END",
       .before = "INSERT INTO notes VALUES('1', 'a', 'oat milk'), ('2', 'b', 'bread'), ('3', 'c', 'milk')",
       .first = "UPDATE notes SET body = 'milk bread' WHERE id = '2'; INSERT INTO notes VALUES('4', 'd', 'tea')",
       .second = "DELETE FROM notes WHERE id = '3'; INSERT INTO notes VALUES('5', 'd', 'milk tea')",
       .query = "SELECT * FROM notes ORDER BY id",
       .rows = "1|a|oat milk\n2|b|milk bread\n4|d|tea\n",
       .parked = "notes[\"5\"]\n",
       .older = Outcome{"1|a|oat milk\n2|b|milk bread\n4|d|tea\n", "1 notes[\"5\"]\n"},
       .younger = Outcome{"1|a|oat milk\n2|b|milk bread\n5|d|milk tea\n", "0 notes[\"4\"]\n"},
       .never = "SELECT id FROM notes WHERE (body LIKE '%milk%') <> (rowid IN (SELECT rowid FROM search WHERE search "
                "MATCH 'milk')) UNION ALL SELECT rowid FROM search WHERE search MATCH 'milk OR tea OR bread' AND rowid "
                "NOT IN (SELECT rowid FROM notes)"},
      {.name = "ADenormalisedCount",
       .tables = {{"cards", "id TEXT PRIMARY KEY, list TEXT", "id text PRIMARY KEY, list text"}},
       .on_devices =
           "CREATE TABLE counts(list TEXT PRIMARY KEY, n INTEGER);"
           "CREATE TRIGGER cards_i AFTER INSERT ON cards BEGIN INSERT INTO counts VALUES(NEW.list, 1) ON CONFLICT DO "
           "UPDATE SET n = n + 1; END;"
           "CREATE TRIGGER cards_d AFTER DELETE ON cards BEGIN UPDATE counts SET n = n - 1 WHERE list = OLD.list; END;"
           "CREATE TRIGGER cards_u AFTER UPDATE OF list ON cards BEGIN UPDATE counts SET n = n - 1 WHERE list = "
           "OLD.list; INSERT INTO counts VALUES(NEW.list, 1) ON CONFLICT DO UPDATE SET n = n + 1; END",
       .before = "INSERT INTO cards VALUES('1', 'a'), ('2', 'a'), ('3', 'b')",
       .first = "UPDATE cards SET list = 'b' WHERE id = '1'",
       .second = "DELETE FROM cards WHERE id = '2'; INSERT INTO cards VALUES('4', 'c')",
       .query = "SELECT * FROM cards ORDER BY id",
       .rows = "1|b\n3|b\n4|c\n",
       .never =
           "SELECT list, n FROM counts WHERE n <> (SELECT count(*) FROM cards WHERE cards.list = counts.list) UNION "
           "ALL SELECT id, list FROM cards WHERE list NOT IN (SELECT list FROM counts)"},
      {.name = "AnUpdatedAt",
       .tables = {{"touched", "id TEXT PRIMARY KEY, v INTEGER, updated TEXT, updates INTEGER DEFAULT 0",
                   "id text PRIMARY KEY, v bigint, updated text, updates bigint DEFAULT 0"}},
       .on_devices = "CREATE TRIGGER touch AFTER UPDATE OF v ON touched BEGIN UPDATE touched SET updated = 'with ' || "
                     "NEW.v, updates = updates + 1 WHERE id = NEW.id; END",
       .before = "INSERT INTO touched(id, v) VALUES('1', 1), ('2', 1), ('3', 1)",
       .first = "UPDATE touched SET v = 2 WHERE id IN ('1', '3')",
       .second = "UPDATE touched SET v = 3 WHERE id IN ('2', '3')",
       .query = "SELECT * FROM touched ORDER BY id",
       .rows = "1|2|with 2|1\n2|3|with 3|1\n3|3|with 3|1\n"},
      {.name = "ATriggerThatWritesOtherSyncedTables",
       .tables = {{"orders", "id TEXT PRIMARY KEY, amount INTEGER", "id text PRIMARY KEY, amount bigint"},
                  {"audit", "id TEXT PRIMARY KEY, what TEXT", "id text PRIMARY KEY, what text"},
                  {"drafts", "id TEXT PRIMARY KEY", "id text PRIMARY KEY"}},
       .on_devices = "CREATE TRIGGER ordered AFTER INSERT ON orders BEGIN INSERT INTO audit VALUES(hex(randomblob(8)), "
                     "'order ' || NEW.id); DELETE FROM drafts WHERE id = NEW.id; END",
       .before = "INSERT INTO drafts VALUES('1'), ('2'), ('3')",
       .first = "INSERT INTO orders VALUES('1', 10)",
       .second = "INSERT INTO orders VALUES('2', 5)",
       .query = "SELECT what FROM audit UNION ALL SELECT id FROM drafts ORDER BY 1",
       .rows = "3\norder 1\norder 2\n"},
  };
  return all;
}

struct Param {
  StoreKind kind;
  bool second_first;  // the younger write reaches the server first
  size_t devices;
  const char* name;
  const char* pragmas;
  Group group;
};

void PrintTo(const Param& p, std::ostream* out) { *out << p.name; }

class ConstraintsThroughServers : public ::testing::TestWithParam<Param> {};

using Rows = std::map<std::string, std::string>;

// By key, of "SELECT *".
Rows by_key(const std::string& lines) {
  Rows out;
  for (size_t at = 0; at < lines.size();) {
    const size_t end = lines.find('\n', at);
    const std::string line = lines.substr(at, end - at);
    out[line.substr(0, line.find('|'))] = line;
    at = end + 1;
  }
  return out;
}

// What a device lists of a case: of `table` "rejoin_parked" or "rejoin_rejections".
std::string listed(LoopbackDevice& d, const Case& c, const std::string& table, const std::string& prefix) {
  std::string names;
  for (const StoreTable& t : c.tables) names += (names.empty() ? "'" : ", '") + t.name + "'";
  return plain_rows(d.peer, "SELECT DISTINCT '" + prefix + "' || table_name || key FROM " + table +
                                " WHERE table_name IN (" + names + ") ORDER BY 1");
}

TEST_P(ConstraintsThroughServers, NothingIsLostAndNothingWaitsBehindIt) {
  const Param& p = GetParam();
  const bool embedded = p.kind == StoreKind::embedded;
  std::vector<Case> told;
  for (const Case& c : cases())
    if (c.group == p.group) told.push_back(c);
  std::vector<StoreTable> tables{kPlain};
  std::string triggers;
  for (const Case& c : told) {
    tables.insert(tables.end(), c.tables.begin(), c.tables.end());
    triggers += c.indexes + ";" + c.on_devices + ";";
  }
  std::string schema = p.pragmas;
  std::vector<std::string> names;
  for (const StoreTable& t : tables)
    schema += "CREATE TABLE " + t.name + "(" + t.on_device + ");", names.push_back(t.name);
  auto world = StoreWorld::make(p.kind, tables);
  for (const Case& c : told) {
    const std::string& sql = embedded || c.in_postgres.empty() ? c.indexes : c.in_postgres;
    if (!sql.empty()) world->run(sql);
  }
  std::vector<std::unique_ptr<LoopbackDevice>> devices;
  for (size_t i = 0; i < p.devices; ++i)
    devices.push_back(std::make_unique<LoopbackDevice>("device" + std::to_string(i), schema + triggers, names));
  auto write = [&](size_t i, std::string Case::*sql) {
    for (const Case& c : told)
      if (!(c.*sql).empty()) devices[i]->peer.run(c.*sql + ";" + p.pragmas);
  };
  devices[0]->peer.clock().set(system_clock().now_ms() - 3'600'000);
  write(0, &Case::before);
  for (auto& d : devices) world->sync(*d);
  const int64_t now = system_clock().now_ms();
  devices[0]->peer.clock().set(now - 2'000);
  write(0, &Case::first);
  devices[1]->peer.clock().set(now - 1'000);
  write(1, &Case::second);
  // Behind them in the queue.
  devices[0]->peer.run("INSERT INTO plain VALUES('0', 'x')");
  devices[1]->peer.run("INSERT INTO plain VALUES('1', 'y')");
  std::vector<size_t> order{0, 1};
  if (p.second_first) std::swap(order[0], order[1]);
  if (devices.size() > 2) order.push_back(2);
  for (int round = 0; round < 3; ++round)
    for (size_t i : order) world->sync(*devices[i]);
  for (size_t i : order) {
    const sync::SyncTotals last = world->sync(*devices[i]);
    EXPECT_EQ(last.rows_pushed, 0u) << "device " << i;
    EXPECT_EQ(last.rows_pulled, 0u) << "device " << i;
  }

  for (auto& d : devices) {
    EXPECT_EQ(plain_rows(d->peer, "SELECT * FROM plain ORDER BY id"), "0|x\n1|y\n");
    d->peer.expect_sound(true);
    EXPECT_EQ(d->peer.rows("PRAGMA foreign_key_check"), "");
  }
  for (const Case& c : told) {
    SCOPED_TRACE(c.name);
    std::string refused;
    for (size_t i = 0; i < devices.size(); ++i) {
      SCOPED_TRACE("device " + std::to_string(i));
      LoopbackDevice& d = *devices[i];
      const std::string parked = listed(d, c, "rejoin_parked", ""), rejected = listed(d, c, "rejoin_rejections", "");
      refused += listed(d, c, "rejoin_rejections", std::to_string(i) + " ");
      if (embedded) {
        EXPECT_EQ(plain_rows(d.peer, c.query), c.rows);
        EXPECT_EQ(parked, c.parked);
      }
      EXPECT_EQ(c.never.empty() ? "" : plain_rows(d.peer, c.never), "");
      for (const StoreTable& t : c.tables) {
        Rows here = by_key(plain_rows(d.peer, "SELECT * FROM " + t.name));
        Rows there = by_key(world->rows("SELECT * FROM " + t.name));
        std::set<std::string> keys;
        for (const auto& row : here) keys.insert(row.first);
        for (const auto& row : there) keys.insert(row.first);
        for (const std::string& key : keys) {
          const std::string name = t.name + "[\"" + key + "\"]\n";
          const bool is_rejected = rejected.find(name) != std::string::npos;
          const bool may_differ = is_rejected || (there.count(key) && parked.find(name) != std::string::npos);
          EXPECT_TRUE(here[key] == there[key] || may_differ) << name << here[key] << " at the server: " << there[key];
        }
      }
    }
    const std::optional<Outcome> otherwise = embedded ? std::nullopt : p.second_first ? c.younger : c.older;
    EXPECT_EQ(world->rows(c.query), otherwise ? otherwise->rows : c.rows);
    EXPECT_EQ(refused, otherwise ? otherwise->refused : "");
  }
  // The embedded store hides rows itself, which its own soundness does not allow for.
  if (!embedded) world->expect_sound();
}

std::vector<Param> params() {
  const char* enforced = "PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = OFF;";
  const char* recursive = "PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON;";
  const char* unenforced = "PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = OFF;";
  std::vector<Param> out;
  for (StoreKind kind : {StoreKind::embedded, StoreKind::postgres})
    for (bool second_first : {false, true}) {
      out.push_back({kind, second_first, 3, "values", enforced, Group::values});
      out.push_back({kind, second_first, 2, "valuesRecursiveTriggers", recursive, Group::values});
      out.push_back({kind, second_first, 3, "references", enforced, Group::references});
      out.push_back({kind, second_first, 2, "referencesUnenforced", unenforced, Group::references});
    }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Stores, ConstraintsThroughServers, ::testing::ValuesIn(params()), [](const auto& of) {
  return std::string(of.param.kind == StoreKind::embedded ? "embedded_" : "postgres_") + of.param.name +
         (of.param.second_first ? "_youngerFirst_" : "_olderFirst_") + std::to_string(of.param.devices);
});

const char* const kParked = "SELECT DISTINCT table_name || key FROM rejoin_parked ORDER BY 1";
const char* const kRejected = "SELECT table_name || key FROM rejoin_rejections ORDER BY 1";

struct OneStricter {
  StoreKind kind;
  bool strict_first;  // the stricter device syncs first
  size_t devices;
};

void PrintTo(const OneStricter& p, std::ostream* out) { *out << p.devices << " devices"; }

class AStricterTableOnOneDevice : public ::testing::TestWithParam<OneStricter> {
 protected:
  // The first device is the stricter one.
  void make(const std::vector<StoreTable>& tables, const std::string& stricter, const std::string& others) {
    std::vector<std::string> names;
    for (const StoreTable& t : tables) names.push_back(t.name);
    world = StoreWorld::make(GetParam().kind, tables);
    for (size_t i = 0; i < GetParam().devices; ++i)
      devices.push_back(std::make_unique<LoopbackDevice>("device" + std::to_string(i), i ? others : stricter, names));
  }
  void settle() {
    for (int round = 0; round < 2; ++round)
      for (size_t i = 0; i < devices.size(); ++i)
        world->sync(*devices[GetParam().strict_first ? i : devices.size() - 1 - i]);
  }
  void write(size_t i, const std::string& sql) {
    devices[i]->peer.clock().set(system_clock().now_ms());
    devices[i]->peer.run(sql);
  }
  std::string shown(size_t i, const std::string& sql) { return plain_rows(devices[i]->peer, sql); }
  void expect_sound() {
    for (auto& d : devices) d->peer.expect_sound(true);
    if (GetParam().kind == StoreKind::postgres) world->expect_sound();
  }
  std::unique_ptr<StoreWorld> world;
  std::vector<std::unique_ptr<LoopbackDevice>> devices;
};

// What the table refuses waits there alone, is passed on all the same, and shows when its writer mends it. PostgreSQL
// refuses the text for a number itself.
TEST_P(AStricterTableOnOneDevice, ShowsWhatItCanTakeAndTheRestWhenItIsMended) {
  const std::string texts = "; CREATE TABLE texts(id TEXT PRIMARY KEY, v TEXT";
  make({{"measures", "id TEXT PRIMARY KEY, n INTEGER", "id text PRIMARY KEY, n bigint"},
        {"texts", "id TEXT PRIMARY KEY, v TEXT", "id text PRIMARY KEY, v text"}},
       "CREATE TABLE measures(id TEXT PRIMARY KEY, n INTEGER) STRICT" + texts + " NOT NULL DEFAULT '')",
       "CREATE TABLE measures(id TEXT PRIMARY KEY, n INTEGER)" + texts + ")");
  write(0, "INSERT INTO measures VALUES('0', 5); INSERT INTO texts VALUES('0', 'of 0')");
  write(1, "INSERT INTO measures VALUES('1', 'many'), ('2', 7); INSERT INTO texts VALUES('1', NULL), ('2', 'of 2')");
  settle();
  const bool embedded = GetParam().kind == StoreKind::embedded;
  const std::string refused = "measures[\"1\"]\n";
  for (size_t i = 1; i < devices.size(); ++i) {
    EXPECT_EQ(shown(i, "SELECT * FROM measures ORDER BY id"), embedded || i == 1 ? "0|5\n1|many\n2|7\n" : "0|5\n2|7\n");
    EXPECT_EQ(shown(i, "SELECT * FROM texts ORDER BY id"), "0|of 0\n1|null\n2|of 2\n");
    EXPECT_EQ(shown(i, kParked), "");
    EXPECT_EQ(shown(i, kRejected), embedded || i > 1 ? "" : refused);
  }
  EXPECT_EQ(shown(0, "SELECT * FROM measures ORDER BY id"), "0|5\n2|7\n");
  EXPECT_EQ(shown(0, "SELECT * FROM texts ORDER BY id"), "0|of 0\n2|of 2\n");
  EXPECT_EQ(shown(0, kParked), (embedded ? refused : "") + "texts[\"1\"]\n");
  write(1, "UPDATE measures SET n = 9 WHERE id = '1'; UPDATE texts SET v = 'of 1' WHERE id = '1'");
  settle();
  for (size_t i = 0; i < devices.size(); ++i) {
    EXPECT_EQ(shown(i, "SELECT * FROM measures ORDER BY id"), "0|5\n1|9\n2|7\n");
    EXPECT_EQ(shown(i, "SELECT * FROM texts ORDER BY id"), "0|of 0\n1|of 1\n2|of 2\n");
    EXPECT_EQ(shown(i, kParked) + shown(i, kRejected), "");
  }
  expect_sound();
}

TEST_P(AStricterTableOnOneDevice, GetsANotNullColumnThatTheOthersGetLater) {
  const StoreTable table{"docs", "id TEXT PRIMARY KEY, v TEXT", "id text PRIMARY KEY, v text"};
  const std::string schema = "CREATE TABLE docs(id TEXT PRIMARY KEY, v TEXT)";
  make({table}, schema, schema);
  const std::string add = "ALTER TABLE docs ADD COLUMN state TEXT NOT NULL DEFAULT 'new'";
  write(0, "INSERT INTO docs VALUES('0', 'a')");
  settle();
  write(0, add + "; UPDATE docs SET state = 'done'");
  write(1, "UPDATE docs SET v = 'b'; INSERT INTO docs VALUES('1', 'c')");
  settle();
  EXPECT_EQ(shown(0, "SELECT * FROM docs ORDER BY id"), "0|b|done\n1|c|new\n");
  for (size_t i = 1; i < devices.size(); ++i) {
    EXPECT_EQ(shown(i, "SELECT * FROM docs ORDER BY id"), "0|b\n1|c\n");
    devices[i]->peer.run(add);
  }
  settle();
  for (size_t i = 0; i < devices.size(); ++i) {
    EXPECT_EQ(shown(i, "SELECT * FROM docs ORDER BY id"), "0|b|done\n1|c|new\n");
    EXPECT_EQ(shown(i, kParked) + shown(i, kRejected), "");
  }
  expect_sound();
}

std::vector<OneStricter> one_stricter() {
  std::vector<OneStricter> out;
  for (StoreKind kind : {StoreKind::embedded, StoreKind::postgres})
    for (bool strict_first : {true, false})
      for (size_t devices : {size_t{2}, size_t{3}}) out.push_back({kind, strict_first, devices});
  return out;
}

INSTANTIATE_TEST_SUITE_P(Stores, AStricterTableOnOneDevice, ::testing::ValuesIn(one_stricter()), [](const auto& of) {
  return std::string(of.param.kind == StoreKind::embedded ? "embedded" : "postgres") +
         (of.param.strict_first ? "_strictFirst_" : "_strictLast_") + std::to_string(of.param.devices);
});

}  // namespace
}  // namespace rejoin::testing
