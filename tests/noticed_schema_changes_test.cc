// What plain SQL does to a tracked table is noticed at the next use of Rejoin, whatever it was: names that change
// places, that are given away and taken again.
#include <gtest/gtest.h>

#include "sqlite/api.h"
#include "tests/support/peer.h"
#include "tests/support/sync_loopback.h"

namespace rejoin::testing {
namespace {

void alter(Peer& p, const std::string& sql) {
  Status done = p.rejoin().alter(sql);
  ASSERT_TRUE(done.ok()) << sql << ": " << done.error().message;
}
void compact(Peer& p) {
  auto done = p.rejoin().compact();
  ASSERT_TRUE(done.ok()) << done.error().message;
}

TEST(NoticedSchemaChanges, APlainlyRenamedColumnKeepsItsVersionsAndTheValuesOfDeletedRows) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, title TEXT, \"it's \"\"odd\"\" OLD.\" TEXT)", {"t"});
  a.run("INSERT INTO t VALUES('1', 'milk', 'x'), ('2', 'bread', 'y'); DELETE FROM t WHERE id = '2'");
  const int64_t seq = a.seq();
  a.run("ALTER TABLE t RENAME title TO name; ALTER TABLE t RENAME \"it's \"\"odd\"\" OLD.\" TO \"odder \"\" still\"");
  EXPECT_EQ(a.changeset(seq), Bytes());  // nothing is sent
  a.run("UPDATE t SET name = 'oat milk'; INSERT INTO t VALUES('3', 'tea', 'z'); DELETE FROM t WHERE id = '3'");
  EXPECT_TRUE(a.restore("t", {sim::Value::text("2")}));
  EXPECT_TRUE(a.restore("t", {sim::Value::text("3")}));
  EXPECT_EQ(a.rows("SELECT * FROM t ORDER BY id"), "'1'|'oat milk'|'x'\n'2'|'bread'|'y'\n'3'|'tea'|'z'\n");
  a.expect_sound();
}

TEST(NoticedSchemaChanges, ATableRenamedTogetherWithAColumnLostWhatOthersHadWrittenThere) {
  for (const char* migration : {"ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME COLUMN a TO b",
                                "ALTER TABLE t RENAME COLUMN a TO b; ALTER TABLE t RENAME TO u"}) {
    SCOPED_TRACE(migration);
    Peer x("CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT)", {"t"}),
        y("CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT)", {"t"});
    x.run("INSERT INTO t VALUES('1', 'x'), ('2', 'dead'); DELETE FROM t WHERE id = '2'");
    y.fetch(x);
    for (Peer* p : {&x, &y}) p->clock().advance(1000);
    y.run("UPDATE t SET a = 'edited'");
    y.run(migration);
    y.seq();
    for (Peer* p : {&x, &y}) p->clock().advance(1000);
    x.run(migration);
    for (int i = 0; i < 2; ++i) exchange(x, y);
    for (Peer* p : {&x, &y}) {
      EXPECT_EQ(p->rows("SELECT id, b FROM u"), "'1'|'edited'\n");
      EXPECT_TRUE(p->restore("u", {sim::Value::text("2")}));
      EXPECT_EQ(p->rows("SELECT b FROM u WHERE id = '2'"), "'dead'\n");
      p->expect_sound();
    }
  }
}

TEST(NoticedSchemaChanges, WritesBetweenAPlainRenameAndTheNextUseAreKept) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, x TEXT, y TEXT)", {"t"});
  a.run("INSERT INTO t VALUES('1', 'x', 'y'), ('2', 'x2', 'y2')");
  a.seq();
  // x and y change names with each other.
  a.run(
      "ALTER TABLE t RENAME x TO z; ALTER TABLE t RENAME y TO x; ALTER TABLE t RENAME z TO y; UPDATE t SET y = 'was x' "
      "WHERE id = '1'; DELETE FROM t WHERE id = '2'");
  EXPECT_TRUE(a.restore("t", {sim::Value::text("2")}));
  EXPECT_EQ(a.rows("SELECT y, x FROM t ORDER BY id"), "'was x'|'y'\n'x2'|'y2'\n");
  Peer c("CREATE TABLE t(id TEXT PRIMARY KEY, x TEXT, y TEXT)", {"t"});
  c.fetch(a);
  EXPECT_EQ(c.rows("SELECT y, x FROM t ORDER BY id"), "'was x'|'y'\n'x2'|'y2'\n");
  a.expect_sound();
}

TEST(NoticedSchemaChanges, ManyColumnsArePlainlyRenamed) {
  std::string columns;
  for (int i = 0; i < 20; ++i) columns += ", c" + std::to_string(i) + " INTEGER";
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY" + columns + ")", {"t"});
  alter(a, "ALTER TABLE t DROP COLUMN c9");
  a.run("INSERT INTO t(id, c0, c8, c10, c19) VALUES('1', 0, 8, 10, 19)");
  a.run(
      "ALTER TABLE t RENAME c8 TO c9; ALTER TABLE t RENAME c10 TO c8; ALTER TABLE t RENAME c19 TO last; ALTER TABLE t "
      "ADD COLUMN c19 INTEGER; DELETE FROM t");
  EXPECT_TRUE(a.restore("t", {sim::Value::text("1")}));
  EXPECT_EQ(a.rows("SELECT c0, c8, c9, last, c19 FROM t"), "0|10|8|19|null\n");
  a.run("UPDATE t SET c19 = 1, last = 2");
  compact(a);
  a.expect_sound();
}

TEST(NoticedSchemaChanges, AKeyColumnCanBePlainlyRenamed) {
  Peer a("CREATE TABLE a(id TEXT, n INTEGER, v TEXT, PRIMARY KEY(n, id))", {"a"});
  Peer b("CREATE TABLE a(id TEXT, n INTEGER, v TEXT, PRIMARY KEY(n, id))", {"a"});
  a.run("INSERT INTO a VALUES('1', 1, 'one'), ('2', 2, 'two')");
  b.fetch(a);
  a.clock().advance(1000);
  a.run("ALTER TABLE a RENAME COLUMN id TO key; DELETE FROM a WHERE n = 1");
  compact(a);
  EXPECT_TRUE(a.restore("a", {sim::Value::of(int64_t{1}), sim::Value::text("1")}));
  b.run("UPDATE a SET v = 'zwei' WHERE id = '2'");
  exchange(a, b);
  EXPECT_EQ(a.rows("SELECT * FROM a ORDER BY n"), "'1'|1|'one'\n'2'|2|'zwei'\n");
  a.expect_sound();
  b.run("ALTER TABLE a RENAME COLUMN id TO key");
  exchange(a, b);
  EXPECT_EQ(b.rows("SELECT * FROM a ORDER BY n"), a.rows("SELECT * FROM a ORDER BY n"));
  b.expect_sound();
}

TEST(NoticedSchemaChanges, AColumnThatTakesTheNameOfAPlainlyRenamedOneIsANewOne) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT)", {"t"}), b("CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT)", {"t"});
  a.run("INSERT INTO t VALUES('1', 'old')");
  b.fetch(a);
  a.run("ALTER TABLE t RENAME COLUMN a TO b; ALTER TABLE t ADD COLUMN a TEXT");
  b.run("ALTER TABLE t ADD COLUMN b TEXT");
  const Bytes from_a = a.changeset(), from_b = b.changeset();
  a.apply(from_b);
  b.apply(from_a);
  EXPECT_EQ(a.rows("SELECT id, a, b FROM t"), b.rows("SELECT id, a, b FROM t"));
  for (Peer* p : {&a, &b}) p->clock().advance(1000);
  a.run("UPDATE t SET a = 'new'");
  exchange(a, b);
  EXPECT_EQ(a.rows("SELECT id, a, b FROM t"), "'1'|'new'|'old'\n");
  EXPECT_EQ(b.rows("SELECT id, a, b FROM t"), "'1'|'new'|'old'\n");
  a.expect_sound();
  b.expect_sound();
}

TEST(NoticedSchemaChanges, APlainlyRenamedColumnCanBeRenamedBack) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT)", {"t"});
  a.run("INSERT INTO t VALUES('1', 'v'); ALTER TABLE t RENAME a TO q");
  compact(a);
  alter(a, "ALTER TABLE t RENAME COLUMN q TO a");
  EXPECT_EQ(a.rows("SELECT a FROM t"), "'v'\n");
  a.expect_sound();
}

TEST(NoticedSchemaChanges, APlainlyAddedColumnWithADroppedOnesNameAsksTheServerAgain) {
  const std::string schema = "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT, c TEXT)";
  LoopbackServer server;
  LoopbackDevice a("a", schema, {"t"}), b("b", schema, {"t"});
  b.peer.run("INSERT INTO t VALUES('1', 'a1', NULL), ('2', 'a2', 'c2')");
  b.must_sync(server);
  a.must_sync(server);
  alter(a.peer, "ALTER TABLE t DROP COLUMN c");
  a.peer.run("ALTER TABLE t ADD COLUMN c TEXT");
  a.must_sync(server);
  EXPECT_EQ(a.peer.rows("SELECT * FROM t ORDER BY id"), "'1'|'a1'|null\n'2'|'a2'|'c2'\n");
  a.peer.expect_sound();
}

// Tables a and b, each with a row that is called like its table, a deleted one, and one that waits.
class RenamedTables : public ::testing::Test {
 protected:
  RenamedTables() {
    for (const char* t : {"a", "b"}) {
      const std::string name = t;
      p.run("CREATE TABLE " + name + "(id TEXT PRIMARY KEY, v TEXT)");
      p.track(name);
      p.run("INSERT INTO " + name + " VALUES('" + name + "', 'v'), ('dead', '" + name + "'); DELETE FROM " + name +
            " WHERE id = 'dead'");
    }
    p.seq();
  }
  // Each is still itself, with what it had.
  void expect_kept(const std::string& a_now, const std::string& b_now) {
    p.clock().advance(1000);
    for (const auto& [was, now] : {std::pair(std::string("a"), a_now), std::pair(std::string("b"), b_now)}) {
      if (now.empty()) continue;
      SCOPED_TRACE(was + " is " + now + " now");
      p.run("UPDATE " + now + " SET v = 'w'");
      EXPECT_TRUE(p.restore(now, {sim::Value::text("dead")}));
      EXPECT_EQ(p.rows("SELECT * FROM " + now + " ORDER BY id"), "'" + was + "'|'w'\n'dead'|'" + was + "'\n");
      Peer other("CREATE TABLE " + now + "(id TEXT PRIMARY KEY, v TEXT)", {now});
      other.apply(p.changeset());
      EXPECT_EQ(other.rows("SELECT * FROM " + now + " ORDER BY id"), "'" + was + "'|'w'\n'dead'|'" + was + "'\n");
    }
    p.expect_sound();
  }
  void begin(const std::string& table) {
    Status done = p.rejoin().alter_begin(table);
    ASSERT_TRUE(done.ok()) << done.error().message;
  }
  void commit(const std::string& table) {
    Status done = p.rejoin().alter_commit(table);
    ASSERT_TRUE(done.ok()) << done.error().message;
  }
  Peer p;
};

TEST_F(RenamedTables, OneTakesTheNameThatTheOtherHad) {
  p.run("ALTER TABLE b RENAME TO c; ALTER TABLE a RENAME TO b");
  expect_kept("b", "c");
}

TEST_F(RenamedTables, TwoChangeNames) {
  p.run("ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b");
  expect_kept("b", "a");
}

TEST_F(RenamedTables, OneTakesTheNameOfADroppedOne) {
  p.run("DROP TABLE b; ALTER TABLE a RENAME TO b");
  expect_kept("b", "");
}

TEST_F(RenamedTables, OneTakesTheNameOfADroppedOneThatCameFirst) {
  p.run("DROP TABLE a; ALTER TABLE b RENAME TO a");
  expect_kept("", "a");
}

TEST_F(RenamedTables, OneTakesTheNameOfOneThatIsBeingAltered) {
  begin("a");
  p.run("ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a");
  commit("a");
  expect_kept("c", "a");
}

TEST_F(RenamedTables, OneThatIsBeingAlteredTakesTheNameOfAnother) {
  begin("a");
  p.run("ALTER TABLE b RENAME TO c; ALTER TABLE a RENAME TO b; ALTER TABLE c RENAME TO a");
  commit("b");
  expect_kept("b", "a");
}

TEST_F(RenamedTables, OneThatIsBeingAlteredTakesTheNameOfADroppedOne) {
  begin("b");
  p.run("DROP TABLE a; ALTER TABLE b RENAME TO a");
  commit("b");
  expect_kept("", "a");
}

TEST_F(RenamedTables, TwoChangeNamesWhileBothAreBeingAltered) {
  for (const bool by_hand : {false, true}) {
    SCOPED_TRACE(by_hand);
    if (by_hand) p.run("BEGIN");
    begin("a");
    begin("b");
    p.run("ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b");
    if (by_hand) {
      p.run("COMMIT");
      expect_kept("a", "b");  // as they were before
    } else {
      commit("a");
      commit("b");
      expect_kept("b", "a");
      p.run("DELETE FROM a WHERE id = 'dead'; DELETE FROM b WHERE id = 'dead'");
    }
  }
}

TEST(NoticedSchemaChanges, AnAlterThatMakesATableUnfitForSyncingIsRefused) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT, rowid TEXT)", {"t"});
  a.run("INSERT INTO t VALUES('1', 'x', 'y')");
  for (const std::string sql : {"ALTER TABLE t RENAME TO rejoin_t", "ALTER TABLE t RENAME TO t__rejoin_x"}) {
    const Status done = a.rejoin().alter(sql);
    ASSERT_FALSE(done.ok()) << sql;
    EXPECT_EQ(done.error().code, Code::untrackable) << done.error().message;
  }
  alter(a, "ALTER TABLE t ADD COLUMN oid TEXT");
  const Status done = a.rejoin().alter("ALTER TABLE t ADD COLUMN _rowid_ TEXT");
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, Code::untrackable) << done.error().message;
  a.run("UPDATE t SET v = 'z'; DELETE FROM t");
  compact(a);
  a.expect_sound();
}

TEST(NoticedSchemaChanges, TheDoctorReportsATableThatAPlainRenameMadeUnfit) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT)", {"t"});
  a.run("ALTER TABLE t RENAME TO rejoin_t");
  const auto findings = a.rejoin().doctor();
  ASSERT_TRUE(findings.ok()) << findings.error().message;
  EXPECT_NE(findings->find("{\"kind\":\"table\",\"table\":\"rejoin_t\""), std::string::npos) << *findings;
  a.run("ALTER TABLE rejoin_t RENAME TO t");
  a.expect_sound();
}

TEST(NoticedSchemaChanges, PlainColumnsThatTakeAllNamesOfTheRowNumberStopNothing) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT)", {"t"});
  a.run("ALTER TABLE t ADD COLUMN rowid; ALTER TABLE t ADD COLUMN oid; ALTER TABLE t ADD COLUMN _rowid_");
  for (const std::string v : {"first", "last"}) a.run("INSERT INTO t(id, v) VALUES('1', '" + v + "'); DELETE FROM t");
  compact(a);
  const auto findings = a.rejoin().doctor();
  ASSERT_TRUE(findings.ok()) << findings.error().message;
  EXPECT_NE(findings->find("{\"kind\":\"table\",\"table\":\"t\""), std::string::npos) << *findings;
  EXPECT_TRUE(a.restore("t", {sim::Value::text("1")}));
  EXPECT_EQ(a.rows("SELECT v FROM t"), "'last'\n");
}

TEST(NoticedSchemaChanges, RowsThatWaitedForAnIndexShowWhenItIsDropped) {
  const std::string schema = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT)";
  Peer a(schema + "; CREATE UNIQUE INDEX tv ON t(v)", {"t"}), b(schema, {"t"});
  b.run("INSERT INTO t VALUES('1', 'same'), ('2', 'same')");
  a.fetch(b);
  EXPECT_EQ(a.number("SELECT count(*) FROM t"), 1);
  alter(a, "DROP INDEX tv");
  EXPECT_EQ(a.number("SELECT count(*) FROM t"), 2);
  a.expect_sound();
}

TEST(NoticedSchemaChanges, ATemporaryTableOfTheSameNameIsNotTakenForTheTrackedOne) {
  Peer a("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT UNIQUE)", {"todos"});
  a.run("INSERT INTO todos VALUES('1', 'milk'), ('2', 'bread')");
  a.run(
      "CREATE TEMP TABLE todos(id TEXT PRIMARY KEY, extra TEXT UNIQUE, ref TEXT REFERENCES other(x)); CREATE TABLE "
      "other(x)");
  compact(a);
  for (const std::string sql : {"ALTER TABLE todos RENAME COLUMN title TO name", "CREATE INDEX i ON todos(title)"}) {
    const Status refused = a.rejoin().alter(sql);
    ASSERT_FALSE(refused.ok()) << sql;
    EXPECT_EQ(refused.error().code, Code::bad_argument);
    EXPECT_NE(refused.error().message.find("temporary table \"todos\""), std::string::npos) << refused.error().message;
  }
  alter(a, "ALTER TABLE main.todos RENAME COLUMN title TO name");
  alter(a, "CREATE INDEX main.i ON todos(name)");
  a.run("UPDATE main.todos SET name = 'oat milk' WHERE id = '1'; DELETE FROM main.todos WHERE id = '2'");
  compact(a);
  a.run("DROP TABLE temp.todos");
  a.run("UPDATE todos SET name = 'soy milk'");
  EXPECT_TRUE(a.restore("todos", {sim::Value::text("2")}));
  EXPECT_EQ(a.rows("SELECT * FROM todos ORDER BY id"), "'1'|'soy milk'\n'2'|'bread'\n");
  a.expect_sound();
}

// As an earlier build left it, which took a temporary table for it.
TEST(NoticedSchemaChanges, TriggersThatNameAColumnThatIsNotThereAreMadeAnew) {
  Peer a("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)", {"todos"});
  a.run("INSERT INTO todos VALUES('1', 'milk')");
  compact(a);
  const std::string id = std::to_string(a.number("SELECT id FROM rejoin_table"));
  a.run("INSERT INTO rejoin_column VALUES(" + id +
        ", 1, 'extra'); ALTER TABLE todos__rejoin_dead ADD COLUMN extra; "
        "ALTER TABLE todos__rejoin_gone ADD COLUMN extra; DROP TRIGGER rejoin_capture_" +
        id +
        "_update_0; CREATE "
        "TRIGGER rejoin_capture_" +
        id + "_update_0 AFTER UPDATE ON todos BEGIN SELECT OLD.extra; END");
  EXPECT_NE(a.attempt("UPDATE todos SET title = 'x'"), SQLITE_OK);
  compact(a);
  a.run("UPDATE todos SET title = 'oat milk'");
  EXPECT_EQ(a.rows("SELECT * FROM todos"), "'1'|'oat milk'\n");
  a.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
