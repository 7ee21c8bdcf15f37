// P6: whatever changes a tracked table is captured, whoever writes and however, in the transaction of the write.
#include <gtest/gtest.h>

#include "sqlite/api.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kTodos = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0)";

// What a second replica has after hearing everything.
std::string elsewhere(Peer& a, const std::string& schema, const std::string& query,
                      const std::vector<std::string>& tracked) {
  Peer b(schema, tracked);
  b.fetch(a);
  b.expect_sound();
  return b.rows(query);
}

TEST(Capture, InsertUpdateDeleteTravel) {
  Peer a(kTodos, {"todos"}), b(kTodos, {"todos"});
  a.run("INSERT INTO todos(id, title) VALUES('1', 'milk'), ('2', 'bread'), ('3', 'tea')");
  EXPECT_EQ(b.fetch(a), 3u);
  EXPECT_EQ(b.rows("SELECT * FROM todos ORDER BY id"), "'1'|'milk'|0\n'2'|'bread'|0\n'3'|'tea'|0\n");
  a.run("UPDATE todos SET done = 1 WHERE id = '2'; DELETE FROM todos WHERE id = '3'");
  EXPECT_EQ(b.fetch(a), 2u);
  EXPECT_EQ(b.rows("SELECT * FROM todos ORDER BY id"), "'1'|'milk'|0\n'2'|'bread'|1\n");
  EXPECT_EQ(b.fetch(a), 0u);
  a.expect_sound(), b.expect_sound();
}

TEST(Capture, AConnectionThatNeverLoadedRejoinIsCaptured) {
  Peer a(kTodos, {"todos"});
  a.run_on(2, "INSERT INTO todos VALUES('1', 'plain', 1)");
  a.run_on(2, "UPDATE todos SET title = 'plainer'");
  EXPECT_EQ(elsewhere(a, kTodos, "SELECT * FROM todos", {"todos"}), "'1'|'plainer'|1\n");
}

TEST(Capture, ConflictClausesAndUpsert) {
  Peer a(kTodos, {"todos"});
  a.run("INSERT INTO todos VALUES('1', 'a', 0)");
  a.run("INSERT OR IGNORE INTO todos VALUES('1', 'ignored', 5), ('2', 'kept', 5)");
  a.run("INSERT OR REPLACE INTO todos VALUES('1', 'replaced', 7)");
  a.run(
      "INSERT INTO todos(id, title) VALUES('2', 'upserted'), ('3', 'new') ON CONFLICT(id) DO UPDATE SET title = "
      "excluded.title");
  a.run("INSERT INTO todos(id, title) VALUES('3', 'nothing') ON CONFLICT DO NOTHING");
  std::string expected = "'1'|'replaced'|7\n'2'|'upserted'|5\n'3'|'new'|0\n";
  EXPECT_EQ(a.rows("SELECT * FROM todos ORDER BY id"), expected);
  EXPECT_EQ(elsewhere(a, kTodos, "SELECT * FROM todos ORDER BY id", {"todos"}), expected);
}

TEST(Capture, ReplaceThatDisplacesAnotherRowThroughUniqueIsADeleteOfThatRow) {
  const char* schema = "CREATE TABLE users(id TEXT PRIMARY KEY, mail TEXT UNIQUE, name TEXT)";
  Peer a(schema, {"users"}), b(schema, {"users"});
  a.run("INSERT INTO users VALUES('1', 'x@y', 'Ann'), ('2', 'z@y', 'Bob'), ('3', NULL, 'Cid')");
  b.fetch(a);
  a.run("INSERT OR REPLACE INTO users VALUES('9', 'x@y', 'Zoe')");
  a.run("UPDATE OR REPLACE users SET mail = 'z@y' WHERE id = '3'");
  std::string expected = "'3'|'z@y'|'Cid'\n'9'|'x@y'|'Zoe'\n";
  EXPECT_EQ(a.rows("SELECT * FROM users ORDER BY id"), expected);
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM users ORDER BY id"), expected);
  a.expect_sound(), b.expect_sound();
  // The displaced row was deleted, with its last values kept.
  a.run("DELETE FROM users WHERE id = '9'");
  EXPECT_TRUE(a.restore("users", {sim::Value::text("1")}));
  EXPECT_EQ(a.rows("SELECT * FROM users WHERE id = '1'"), "'1'|'x@y'|'Ann'\n");
}

TEST(Capture, IgnoredConflictsOnUniqueDeleteNothing) {
  const char* schema = "CREATE TABLE users(id TEXT PRIMARY KEY, mail TEXT UNIQUE)";
  Peer a(schema, {"users"}), b(schema, {"users"});
  a.run("INSERT INTO users VALUES('1', 'x@y')");
  b.fetch(a);
  a.run("INSERT OR IGNORE INTO users VALUES('2', 'x@y')");
  EXPECT_EQ(a.attempt("INSERT INTO users VALUES('3', 'x@y')"), SQLITE_CONSTRAINT);
  a.run("INSERT INTO users VALUES('4', 'x@y') ON CONFLICT DO NOTHING");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM users"), "'1'|'x@y'\n");
  a.expect_sound(), b.expect_sound();
}

TEST(Capture, RecursiveTriggersChangeNothing) {
  Peer a(kTodos, {"todos"}), b(kTodos, {"todos"});
  a.run("PRAGMA recursive_triggers = ON");
  a.run("INSERT INTO todos VALUES('1', 'a', 0); INSERT OR REPLACE INTO todos VALUES('1', 'b', 1)");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM todos"), "'1'|'b'|1\n");
  a.expect_sound(), b.expect_sound();
}

TEST(Capture, ForeignKeyCascadesTravelAsWrites) {
  const std::string schema =
      "CREATE TABLE lists(id TEXT PRIMARY KEY, name TEXT);"
      "CREATE TABLE entries(id TEXT PRIMARY KEY, list TEXT REFERENCES lists(id) ON DELETE CASCADE ON UPDATE CASCADE)";
  Peer a(schema, {"lists", "entries"}), b(schema, {"lists", "entries"});
  a.run("PRAGMA foreign_keys = ON");
  a.run("INSERT INTO lists VALUES('l', 'home'), ('m', 'work')");
  a.run("INSERT INTO entries VALUES('1', 'l'), ('2', 'm')");
  b.fetch(a);
  a.run("DELETE FROM lists WHERE id = 'l'; UPDATE lists SET id = 'n' WHERE id = 'm'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM lists"), "'n'|'work'\n");
  EXPECT_EQ(b.rows("SELECT * FROM entries"), "'2'|'n'\n");
}

TEST(Capture, WritesOfTheAppsOwnTriggersAreCaptured) {
  const std::string schema =
      "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, shout TEXT);"
      "CREATE TRIGGER shout AFTER INSERT ON todos BEGIN UPDATE todos SET shout = upper(NEW.title) WHERE id = NEW.id; "
      "END";
  Peer a(schema, {"todos"});
  a.run("INSERT INTO todos(id, title) VALUES('1', 'milk')");
  EXPECT_EQ(
      elsewhere(a, "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, shout TEXT)", "SELECT * FROM todos", {"todos"}),
      "'1'|'milk'|'MILK'\n");
}

TEST(Capture, TheAppSeesItsOwnRowidsAndCounts) {
  const char* schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, v)";
  Peer a(schema);
  sqlite::TrackOptions options;
  options.allow_integer_key = true;
  a.track("t", options);
  a.run("INSERT INTO t VALUES(41, 'x')");
  a.run("INSERT INTO t(v) VALUES('y')");
  EXPECT_EQ(sqlite3_last_insert_rowid(a.handle()), 42);
  a.run("UPDATE t SET v = 'z'");
  EXPECT_EQ(sqlite3_changes(a.handle()), 2);
  EXPECT_EQ(a.rows("INSERT INTO t(v) VALUES('w') RETURNING id"), "43\n");
}

TEST(Capture, MoreThanSixtyThreeColumns) {
  std::string schema = "CREATE TABLE wide(id TEXT PRIMARY KEY";
  for (int i = 0; i < 200; ++i) schema += ", c" + std::to_string(i);
  schema += ")";
  Peer a(schema, {"wide"}), b(schema, {"wide"});
  a.run("INSERT INTO wide(id, c0, c199) VALUES('w', 'first', 'last')");
  b.fetch(a);
  a.run("UPDATE wide SET c63 = 1, c64 = 2, c130 = 3, c199 = 'end'");
  b.run("UPDATE wide SET c62 = 4, c65 = 5, c131 = 6");
  exchange(a, b);
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows("SELECT c0, c62, c63, c64, c65, c130, c131, c199, c100 FROM wide"),
              "'first'|4|1|2|5|3|6|'end'|null\n");
    p->expect_sound();
  }
}

TEST(Capture, GeneratedColumnsAreComputedNotSent) {
  const char* schema =
      "CREATE TABLE g(sum INTEGER AS (x + y) STORED, id TEXT PRIMARY KEY, x INTEGER, y INTEGER, twice AS (x * 2) "
      "VIRTUAL)";
  Peer a(schema, {"g"}), b(schema, {"g"});
  a.run("INSERT INTO g(id, x, y) VALUES('1', 2, 3)");
  b.fetch(a);
  a.run("UPDATE g SET x = 20");
  b.run("UPDATE g SET y = 30");
  exchange(a, b);
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows("SELECT sum, id, x, y, twice FROM g"), "50|'1'|20|30|40\n");
}

TEST(Capture, NamesThatNeedQuotes) {
  const char* schema =
      "CREATE TABLE \"order\"(\"from\" TEXT, \"a \"\"b\"\"\" TEXT, \"naïve ☃\" TEXT, 'single' TEXT, [br acket], "
      "PRIMARY KEY(\"from\", \"a \"\"b\"\"\"))";
  Peer a(schema, {"order"}), b(schema, {"order"});
  a.run("INSERT INTO \"order\" VALUES('x', 'y', 'z', 's', 1)");
  b.fetch(a);
  b.run("UPDATE \"order\" SET \"naïve ☃\" = 'w', [br acket] = 2; UPDATE \"order\" SET \"a \"\"b\"\"\" = 'k'");
  a.fetch(b);
  EXPECT_EQ(a.rows("SELECT * FROM \"order\""), "'x'|'k'|'w'|'s'|2\n");
}

TEST(Capture, NamesWithQuoteMarksAndPercentSigns) {
  const std::string name = "it's 100% \"odd\"; DROP TABLE x --";
  const std::string schema =
      "CREATE TABLE " + sim::quoted(name) + "(id TEXT PRIMARY KEY, " + sim::quoted("v'1\"2") + ")";
  Peer a(schema, {name}), b(schema, {name});
  a.run("INSERT INTO " + sim::quoted(name) + " VALUES('1', 'x')");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM " + sim::quoted(name)), "'1'|'x'\n");
}

TEST(Capture, AColumnThatNobodyAnnouncedIsClaimedWithWhatWasWrittenToIt) {
  Peer a(kTodos, {"todos"}), b(kTodos, {"todos"});
  a.run("INSERT INTO todos(id, title) VALUES('1', 'milk'), ('2', 'tea')");
  b.fetch(a);
  for (Peer* p : {&a, &b}) p->run_on(2, "ALTER TABLE todos ADD COLUMN colour TEXT DEFAULT 'red'");
  a.run_on(2, "UPDATE todos SET colour = 'blue' WHERE id = '1'");
  b.run_on(2, "INSERT INTO todos(id, title, colour) VALUES('3', 'rum', 'brown')");
  exchange(a, b);
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows("SELECT id, title, colour FROM todos ORDER BY id"),
              "'1'|'milk'|'blue'\n'2'|'tea'|'red'\n'3'|'rum'|'brown'\n");
    p->expect_sound();
  }
}

TEST(Capture, VacuumLosesNothing) {
  Peer a(kTodos, {"todos"}), b(kTodos, {"todos"});
  a.run("INSERT INTO todos(id, title) VALUES('1', 'milk'), ('2', 'tea'), ('3', 'rum')");
  b.fetch(a);
  a.run("DELETE FROM todos WHERE id = '1'; VACUUM");
  a.run("UPDATE todos SET title = 'gin' WHERE id = '3'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id, title FROM todos ORDER BY id"), "'2'|'tea'\n'3'|'gin'\n");
  a.expect_sound();
}

TEST(Capture, DropTableStopsTrackingAndDeletesNothingElsewhere) {
  Peer a(std::string(kTodos) + "; CREATE TABLE other(id TEXT PRIMARY KEY, v)", {"todos", "other"});
  Peer b(std::string(kTodos) + "; CREATE TABLE other(id TEXT PRIMARY KEY, v)", {"todos", "other"});
  a.run("INSERT INTO todos(id, title) VALUES('1', 'milk'); INSERT INTO other VALUES('1', 'x')");
  b.fetch(a);
  a.run("DROP TABLE todos");
  a.run("UPDATE other SET v = 'y'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id, title FROM todos"), "'1'|'milk'\n");
  EXPECT_EQ(b.rows("SELECT * FROM other"), "'1'|'y'\n");
  a.expect_sound();
}

TEST(Capture, ARenamedTableStaysTracked) {
  Peer a(kTodos, {"todos"});
  a.run("INSERT INTO todos(id, title) VALUES('1', 'milk')");
  a.changeset();
  a.run("ALTER TABLE todos RENAME TO tasks");
  a.run("UPDATE tasks SET title = 'tea'");
  EXPECT_EQ(elsewhere(a, "CREATE TABLE tasks(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0)",
                      "SELECT * FROM tasks", {"tasks"}),
            "'1'|'tea'|0\n");
  a.expect_sound();
}

TEST(Capture, ATableCanBeUntrackedAndTrackedAgain) {
  Peer a(kTodos, {"todos"}), b(kTodos, {"todos"});
  a.run("INSERT INTO todos(id, title) VALUES('1', 'milk')");
  b.fetch(a);
  ASSERT_TRUE(a.rejoin().untrack("todos").ok());
  EXPECT_EQ(a.rows("SELECT name FROM sqlite_schema WHERE name LIKE 'todos!_!_%' ESCAPE '!' OR type = 'trigger'"), "");
  a.run("UPDATE todos SET title = 'unseen'");
  a.track("todos");
  a.run("INSERT INTO todos(id, title) VALUES('2', 'tea')");
  EXPECT_EQ(b.apply(a.changeset(0)).rows_parked, 0u);
  EXPECT_EQ(b.rows("SELECT id, title FROM todos ORDER BY id"), "'1'|'milk'\n'2'|'tea'\n");
  a.expect_sound();
}

TEST(Capture, RowsFromBeforeTrackingLoseToAnyLaterWrite) {
  Peer a(kTodos), b(kTodos);
  for (Peer* p : {&a, &b}) p->run("INSERT INTO todos(id, title) VALUES('1', 'same'), ('2', 'old')");
  a.run("INSERT INTO todos(id, title) VALUES('3', 'only a')");
  a.track("todos"), b.track("todos");
  b.run("UPDATE todos SET title = 'edited' WHERE id = '2'");
  exchange(a, b);
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows("SELECT id, title FROM todos ORDER BY id"), "'1'|'same'\n'2'|'edited'\n'3'|'only a'\n");
    p->expect_sound();
  }
}

TEST(Capture, TrackingAgainIsANoOp) {
  Peer a(kTodos, {"todos"});
  a.run("INSERT INTO todos(id, title) VALUES('1', 'milk')");
  a.changeset();
  int64_t seq = a.seq();
  a.track("todos");
  EXPECT_EQ(a.seq(), seq);
  EXPECT_EQ(a.number("SELECT count(*) FROM todos__rejoin"), 1);
}

TEST(Capture, TrackingAgainWithoutOptionsLeavesTheOptionsAlone) {
  Peer a(kTodos, {});
  sqlite::TrackOptions forget;
  forget.keep_deleted = false;
  a.track("todos", forget);
  a.track("todos");
  EXPECT_EQ(a.number("SELECT keep_deleted FROM rejoin_table"), 0);
  forget.keep_deleted = true;
  a.track("todos", forget);
  EXPECT_EQ(a.number("SELECT keep_deleted FROM rejoin_table"), 1);
}

TEST(Capture, RowsFromBeforeTrackingArePendingOneByOne) {
  Peer a(kTodos);
  a.run("INSERT INTO todos(id, title) VALUES('1', 'milk'), ('2', 'bread'), ('3', 'tea')");
  a.track("todos");
  a.run("UPDATE todos SET title = 'oat milk' WHERE id = '1'");
  auto status = sqlite::status_json(a.rejoin());
  ASSERT_TRUE(status.ok());
  EXPECT_NE(status->find("\"pending\":4,"), std::string::npos) << *status;
}

TEST(Capture, StatementsThatWriteManyRowsAtOnce) {
  Peer a(kTodos, {"todos"}), b(kTodos, {"todos"});
  a.run(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO todos(id, title) "
      "SELECT printf('%05d', i), 't' || i FROM n");
  EXPECT_EQ(b.fetch(a), 5000u);
  a.run("CREATE TEMP TABLE fresh AS SELECT id, 'fresh ' || title AS title FROM todos WHERE done = 0 AND id % 2 = 0");
  a.run("UPDATE todos SET title = fresh.title, done = 2 FROM fresh WHERE fresh.id = todos.id");
  a.run("DELETE FROM todos WHERE id % 5 = 0");
  EXPECT_EQ(b.fetch(a), 3000u);
  EXPECT_EQ(b.rows("SELECT count(*), sum(done), max(title) FROM todos"),
            a.rows("SELECT count(*), sum(done), max(title) FROM todos"));
  a.expect_sound(), b.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
