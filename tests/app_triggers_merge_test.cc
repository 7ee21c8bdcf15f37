// P1, P9: the application's own triggers during merges. What they keep of merged rows in tables that are not synced
// stays in step; what they would write to synced tables is left out, since the origin's writes travel themselves:
// replicas do not answer each other.
#include <gtest/gtest.h>

#include "sqlite/api.h"
#include "sqlite/functions.h"
#include "tests/support/constrained.h"

namespace rejoin::testing {
namespace {

constexpr const char* kNotes = "CREATE TABLE notes(id TEXT PRIMARY KEY, title TEXT UNIQUE, body TEXT);";

TEST(AppTriggers, FullTextSearchIsKeptInStep) {
  const std::string external =
      "CREATE VIRTUAL TABLE search USING fts5(body, content='notes', content_rowid='rowid');"
      "CREATE TRIGGER ai AFTER INSERT ON notes BEGIN INSERT INTO search(rowid, body) VALUES(NEW.rowid, NEW.body); END;"
      "CREATE TRIGGER ad AFTER DELETE ON notes BEGIN INSERT INTO search(search, rowid, body) VALUES('delete', "
      "OLD.rowid, "
      "OLD.body); END;"
      "CREATE TRIGGER au AFTER UPDATE ON notes BEGIN INSERT INTO search(search, rowid, body) VALUES('delete', "
      "OLD.rowid, "
      "OLD.body); INSERT INTO search(rowid, body) VALUES(NEW.rowid, NEW.body); END";
  const std::string contentless =
      "CREATE VIRTUAL TABLE search USING fts5(body, content='');"
      "CREATE TRIGGER ai AFTER INSERT ON notes BEGIN INSERT INTO search(rowid, body) VALUES(NEW.rowid, NEW.body); END;"
      "CREATE TRIGGER ad AFTER DELETE ON notes BEGIN INSERT INTO search(search, rowid, body) VALUES('delete', "
      "OLD.rowid, "
      "OLD.body); END;"
      "CREATE TRIGGER au AFTER UPDATE ON notes BEGIN INSERT INTO search(search, rowid, body) VALUES('delete', "
      "OLD.rowid, "
      "OLD.body); INSERT INTO search(rowid, body) VALUES(NEW.rowid, NEW.body); END";
  for (const std::string& fts : {external, contentless}) {
    SCOPED_TRACE(fts);
    const std::string found =
        "SELECT count(*) FROM notes WHERE rowid IN (SELECT rowid FROM search WHERE search MATCH 'milk')";
    Replicas all(3, kNotes + fts, {"notes"});
    all.at(0, "INSERT INTO notes VALUES('1', 'a', 'oat milk'), ('2', 'b', 'bread'), ('3', 'c', 'milk')");
    all.sync({2, 0, 1});
    all.expect(found, "2\n");
    all.at(1, "UPDATE notes SET body = 'milk bread' WHERE id = '2'; DELETE FROM notes WHERE id = '3'");
    // A younger claim of the title 'd' is hidden where it was shown.
    all.at(0, "INSERT INTO notes VALUES('4', 'd', 'tea')");
    all.at(2, "INSERT INTO notes VALUES('5', 'd', 'milk tea')");
    all.sync({1, 2, 0});
    all.expect(found, "2\n");
    all.expect("SELECT count(*) FROM search WHERE search MATCH 'milk'", "2\n");
    all.at(1, "DELETE FROM notes WHERE id = '4'");
    all.sync({0, 1, 2});
    all.expect(found, "3\n");
    all.expect("SELECT count(*) FROM search WHERE search MATCH 'tea'", "1\n");
    all.expect("SELECT count(*) FROM search WHERE search MATCH 'bread'", "1\n");
    for (size_t i = 0; i < 3 && fts == external; ++i)
      all[i].run("INSERT INTO search(search, rank) VALUES('integrity-check', 1)");
    all.expect_sound();
  }
}

TEST(AppTriggers, ADenormalisedCountIsRight) {
  const std::string schema =
      "CREATE TABLE entries(id TEXT PRIMARY KEY, list TEXT); CREATE TABLE counts(list TEXT PRIMARY KEY, n INTEGER);"
      "CREATE TRIGGER i AFTER INSERT ON entries BEGIN INSERT INTO counts VALUES(NEW.list, 1) ON CONFLICT DO UPDATE SET "
      "n = "
      "n + 1; END;"
      "CREATE TRIGGER d AFTER DELETE ON entries BEGIN UPDATE counts SET n = n - 1 WHERE list = OLD.list; END;"
      "CREATE TRIGGER u AFTER UPDATE OF list ON entries BEGIN UPDATE counts SET n = n - 1 WHERE list = OLD.list;"
      "INSERT INTO counts VALUES(NEW.list, 1) ON CONFLICT DO UPDATE SET n = n + 1; END";
  tell({.schema = schema,
        .tracked = {"entries"},
        .before = {"INSERT INTO entries VALUES('1', 'a'), ('2', 'a'), ('3', 'b')"},
        .apart = {{0, "UPDATE entries SET list = 'b' WHERE id = '1'"},
                  {1, "DELETE FROM entries WHERE id = '2'; INSERT INTO entries VALUES('4', 'c')"}},
        .query = "SELECT * FROM counts WHERE n > 0 ORDER BY 1",
        .rows = "'b'|2\n'c'|1\n",
        .later = {{1, "DELETE FROM entries WHERE list = 'b'"}},
        .later_rows = "'c'|1\n"});
}

TEST(AppTriggers, AnUpdatedAtIsTheWritersAndReplicasDoNotAnswerEachOther) {
  Replicas all(
      3,
      "CREATE TABLE t(id TEXT PRIMARY KEY, v, updated_at, updates DEFAULT 0);"
      "CREATE TRIGGER touch AFTER UPDATE OF v ON t BEGIN UPDATE t SET updated_at = (SELECT who FROM me), updates = "
      "updates + 1 WHERE id = NEW.id; END; CREATE TABLE me(who)",
      {"t"});
  for (size_t i = 0; i < 3; ++i) all[i].run("INSERT INTO me VALUES('replica " + std::to_string(i) + "')");
  all.at(0, "INSERT INTO t(id, v) VALUES('1', 1), ('2', 1)");
  all.sync({1, 2, 0});
  all.at(0, "UPDATE t SET v = 2 WHERE id = '1'");
  all.at(1, "UPDATE t SET v = 3 WHERE id = '2'");
  all.sync({1, 2, 0});
  all.expect("SELECT * FROM t ORDER BY id", "'1'|2|'replica 0'|1\n'2'|3|'replica 1'|1\n");
  all.expect_sound();
}

TEST(AppTriggers, WhatATriggerWritesToAnotherSyncedTableTravelsOnce) {
  // A log that the trigger keeps, a total that it keeps, and a row that it deletes, all synced.
  const std::string schema =
      "CREATE TABLE orders(id TEXT PRIMARY KEY, amount INTEGER); CREATE TABLE totals(id TEXT PRIMARY KEY, n INTEGER);"
      "CREATE TABLE audit(id TEXT PRIMARY KEY, what TEXT); CREATE TABLE drafts(id TEXT PRIMARY KEY);"
      "CREATE TRIGGER o AFTER INSERT ON orders BEGIN"
      "  INSERT INTO audit VALUES(hex(randomblob(8)), NEW.id);"
      "  UPDATE totals SET n = n + NEW.amount WHERE id = 'all';"
      "  INSERT INTO totals VALUES('all', NEW.amount) ON CONFLICT DO UPDATE SET n = n;"
      "  DELETE FROM drafts WHERE id = NEW.id; REPLACE INTO drafts VALUES('last'); END";
  for (const std::vector<std::string>& tracked :
       {std::vector<std::string>{"orders", "totals", "audit", "drafts"}, {"drafts", "audit", "totals", "orders"}}) {
    Replicas all(3, schema, tracked);
    all[2].run("PRAGMA trusted_schema = OFF");
    all.at(1, "INSERT INTO drafts VALUES('1'), ('2')");
    all.sync({0, 1, 2});
    all.at(0, "INSERT INTO orders VALUES('1', 10)");
    all.sync({2, 1, 0});
    all.at(1, "INSERT INTO orders VALUES('2', 5)");
    all.sync({0, 1, 2});
    all.expect("SELECT what FROM audit ORDER BY 1", "'1'\n'2'\n");
    all.expect("SELECT id, n FROM totals", "'all'|15\n");
    all.expect("SELECT id FROM drafts", "'last'\n");
    for (size_t i = 0; i < 3; ++i)
      EXPECT_EQ(all[i].rows("SELECT * FROM audit ORDER BY 1"), all[0].rows("SELECT * FROM audit ORDER BY 1"));
    all.expect_sound();
    // Afterwards everything is as before: local writes fire them fully.
    all.at(2, "INSERT INTO orders VALUES('3', 1)");
    EXPECT_EQ(all[2].rows("SELECT n FROM totals"), "16\n");
    EXPECT_EQ(all[2].rows("SELECT count(*) FROM temp.sqlite_schema"), "0\n");
  }
}

TEST(AppTriggers, AMergeInATransactionThatIsRolledBackLeavesNothingBehind) {
  const std::string schema =
      "CREATE TABLE t(id TEXT PRIMARY KEY); CREATE TABLE log(id TEXT PRIMARY KEY); CREATE TABLE n(id);"
      "CREATE TRIGGER i AFTER INSERT ON t BEGIN INSERT INTO log VALUES(NEW.id); INSERT INTO n VALUES(NEW.id); END";
  Peer a(schema, {"t", "log"}), b(schema, {"t", "log"});
  a.run("INSERT INTO t VALUES('1'), ('2')");
  const Bytes frame = a.changeset();
  b.run("BEGIN");
  b.apply(frame);
  EXPECT_EQ(b.rows("SELECT id FROM n"), "'1'\n'2'\n");
  b.run("ROLLBACK");
  EXPECT_EQ(b.rows("SELECT count(*) FROM n"), "0\n");
  b.run("INSERT INTO t VALUES('3')");
  b.apply(frame);
  EXPECT_EQ(b.rows("SELECT id FROM log ORDER BY id"), "'1'\n'2'\n'3'\n");
  EXPECT_EQ(b.rows("SELECT count(*) FROM temp.sqlite_schema"), "0\n");
  b.expect_sound();
}

TEST(AppTriggers, ATemporaryTriggerThatTakesAnothersPlaceIsNoticed) {
  const std::string schema = "CREATE TABLE t(id TEXT PRIMARY KEY); CREATE TABLE log(id TEXT PRIMARY KEY)";
  Peer a(schema, {"t", "log"}), b(schema, {"t", "log"});
  b.run("CREATE TEMP TRIGGER one AFTER INSERT ON t BEGIN SELECT 1; END");
  a.run("INSERT INTO t VALUES('1')");
  b.fetch(a);
  b.run("DROP TRIGGER one; CREATE TEMP TRIGGER two AFTER INSERT ON t BEGIN INSERT INTO log VALUES(NEW.id); END");
  a.run("INSERT INTO t VALUES('2')");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id FROM log"), "");
  b.expect_sound();
}

TEST(AppTriggers, ATriggerThatRewritesOtherRowsOfItsOwnTable) {
  // Only one row may be the default. The origin's change of the other row travels itself.
  tell({.schema =
            "CREATE TABLE t(id TEXT PRIMARY KEY, is_default INTEGER DEFAULT 0);"
            "CREATE TRIGGER one BEFORE UPDATE OF is_default ON t WHEN NEW.is_default = 1 BEGIN UPDATE t SET is_default "
            "= 0 WHERE id <> NEW.id AND is_default = 1; END",
        .tracked = {"t"},
        .before = {"INSERT INTO t VALUES('1', 1), ('2', 0), ('3', 0)"},
        .apart = {{0, "UPDATE t SET is_default = 1 WHERE id = '2'"}},
        .query = "SELECT * FROM t ORDER BY id",
        .rows = "'1'|0\n'2'|1\n'3'|0\n",
        .later = {{1, "UPDATE t SET is_default = 1 WHERE id = '3'"}},
        .later_rows = "'1'|0\n'2'|0\n'3'|1\n"});
}

// A statement that goes on reading the table would end with SQLITE_ABORT after the first row that is hidden:
// docs/sql.md, rejoin_apply().
TEST(AppTriggers, ChangesetsOfATableAreMergedOneByOne) {
  const std::string schema = std::string(kNotes) +
                             "CREATE TABLE counts(n); INSERT INTO counts VALUES(0);"
                             "CREATE TRIGGER i AFTER INSERT ON notes BEGIN UPDATE counts SET n = n + 1; END";
  Peer a(schema, {"notes"}), b(schema, {"notes"}),
      c(schema + "; CREATE TABLE inbox(id INTEGER PRIMARY KEY, c BLOB)", {"notes"});
  ASSERT_TRUE(sqlite::register_functions(c.handle(), c.rejoin()).ok());
  a.run("INSERT INTO notes VALUES('1', 'same', ''), ('2', 'a', '')");
  b.clock().advance(1000);
  b.run("INSERT INTO notes VALUES('3', 'same', ''), ('4', 'b', '')");
  c.run("INSERT INTO inbox(c) VALUES(?1)", {sim::Value::blob(a.changeset())});
  c.run("INSERT INTO inbox(c) VALUES(?1)", {sim::Value::blob(b.changeset())});
  a.clock().advance(2000);
  a.run("INSERT INTO notes VALUES('5', 'b', '')");
  c.run("INSERT INTO inbox(c) VALUES(?1)", {sim::Value::blob(a.changeset())});
  for (const char* id : {"1", "2", "3"})
    EXPECT_EQ(c.attempt(std::string("SELECT rejoin_apply((SELECT c FROM inbox WHERE id = ") + id + "))"), SQLITE_OK)
        << c.database().last_error(0);
  EXPECT_EQ(c.rows("SELECT id FROM notes ORDER BY id"), "'1'\n'2'\n'4'\n");
  EXPECT_EQ(c.rows("SELECT key FROM rejoin_parked ORDER BY key"), "'[\"3\"]'\n'[\"5\"]'\n");
  c.expect_sound(true);
}

}  // namespace
}  // namespace rejoin::testing
