// P9: what the application's own triggers, indexes and conflict clauses do during a merge corrupts nothing.
#include <gtest/gtest.h>

#include "sqlite/api.h"
#include "tests/support/model_run.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v, w)";

std::string with_trigger(const std::string& trigger) { return std::string(kSchema) + ";" + trigger; }

TEST(AppSchema, ATriggerOnOneTableDoesNotMakeMergesIntoAnotherLocalWrites) {
  const std::string schema = std::string(kSchema) +
                             "; CREATE TABLE plain(id TEXT PRIMARY KEY, v); CREATE TABLE seen(n);"
                             "CREATE TRIGGER look AFTER INSERT ON t BEGIN INSERT INTO seen VALUES(1); END";
  Peer a(schema, {"t", "plain"}), b(schema, {"t", "plain"});
  a.run("INSERT INTO t VALUES('k', 1, 1); INSERT INTO plain VALUES('p', 1)");
  b.fetch(a);
  EXPECT_EQ(b.number("SELECT count(*) FROM seen"), 1);
  EXPECT_EQ(a.fetch(b), 0u);
  EXPECT_EQ(a.dump().find("by b"), std::string::npos);
  b.expect_sound();
}

TEST(AppSchema, ATriggerThatRollsBackLeavesNoHalfMerge) {
  Peer a(kSchema, {"t"});
  Peer b(
      with_trigger("CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.v = 2 BEGIN SELECT RAISE(ROLLBACK, 'no twos'); END"),
      {"t"});
  a.run("INSERT INTO t VALUES('1', 1, 1), ('2', 2, 2), ('3', 3, 3)");
  Bytes frame = a.changeset();
  b.run("BEGIN; INSERT INTO t VALUES('mine', 1, 1)");
  EXPECT_EQ(b.apply_code(frame), Code::busy);
  EXPECT_EQ(b.rows("SELECT * FROM t"), "");
  b.expect_sound();
  // Later merges leave the trigger out: no row of the application's blocks the others for good.
  b.apply(frame);
  EXPECT_EQ(b.number("SELECT count(*) FROM t"), 3);
  b.expect_sound();
}

// Symptom: `rejoin merge`, a new process each time, never came past such a trigger.
TEST(AppSchema, AMergeInATransactionOfItsOwnIsDoneAgainWithoutTheTriggerThatRolledItBack) {
  Peer a(kSchema, {"t"});
  Peer b(
      with_trigger("CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.v = 2 BEGIN SELECT RAISE(ROLLBACK, 'no twos'); END"),
      {"t"});
  a.run("INSERT INTO t VALUES('1', 1, 1), ('2', 2, 2), ('3', 3, 3)");
  b.apply(a.changeset());
  EXPECT_EQ(b.number("SELECT count(*) FROM t"), 3);
  b.expect_sound();
}

TEST(AppSchema, ATriggerThatIgnoresARowParksIt) {
  Peer a(kSchema, {"t"});
  Peer b(with_trigger("CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.v = 2 BEGIN SELECT RAISE(IGNORE); END"), {"t"});
  a.run("INSERT INTO t VALUES('1', 1, 1), ('2', 2, 2)");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id FROM t"), "'1'\n");
  EXPECT_EQ(b.rows("SELECT key FROM rejoin_parked"), "'[\"2\"]'\n");
  b.expect_sound(true);
}

TEST(AppSchema, ATriggerThatDeletesAMergedRowDoesNotMakeItDisappearUnrecorded) {
  Peer a(kSchema, {"t"});
  Peer b(with_trigger("CREATE TRIGGER del AFTER INSERT ON t WHEN NEW.v = 2 BEGIN DELETE FROM t WHERE id = NEW.id; END"),
         {"t"});
  a.run("INSERT INTO t VALUES('1', 1, 1), ('2', 2, 2)");
  exchange(a, b);
  EXPECT_EQ(a.rows("SELECT * FROM t ORDER BY id"), b.rows("SELECT * FROM t ORDER BY id"));
  b.expect_sound();
}

TEST(AppSchema, OnConflictClausesOfTheTableDoNotActInAMerge) {
  for (const char* clause : {"REPLACE", "IGNORE", "ROLLBACK", "FAIL"}) {
    SCOPED_TRACE(clause);
    const std::string schema =
        "CREATE TABLE u(id TEXT PRIMARY KEY, mail TEXT UNIQUE ON CONFLICT " + std::string(clause) + ")";
    Peer a(schema, {"u"}), b(schema, {"u"});
    a.run("INSERT INTO u VALUES('a1', 'x')");
    b.clock().set(1'700'000'001'000);
    b.run("INSERT INTO u VALUES('b1', 'x'), ('b2', 'y')");
    a.fetch(b);
    EXPECT_EQ(a.rows("SELECT * FROM u ORDER BY id"), "'a1'|'x'\n'b2'|'y'\n");
    EXPECT_EQ(a.rows("SELECT key FROM rejoin_parked"), "'[\"b1\"]'\n");
    a.expect_sound(true);
  }
}

TEST(AppSchema, InsertOrAbortWorksBesideAPartialUniqueIndex) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, u, active); CREATE UNIQUE INDEX ui ON t(u) WHERE active = 1", {"t"});
  for (const char* id : {"1", "2", "3"})
    for (const char* verb : {"INSERT OR ABORT", "INSERT OR FAIL", "INSERT OR ROLLBACK"})
      a.run(std::string(verb) + " INTO t VALUES('" + id + verb + "', 'x', 0)");
  EXPECT_EQ(a.number("SELECT count(*) FROM t"), 9);
  a.expect_sound();
}

TEST(AppSchema, ReplaceThroughAUniqueIndexIsNoticed) {
  struct Case {
    const char *index, *victim, *intruder;
  };
  for (const Case& c : {Case{"CREATE UNIQUE INDEX ui ON t(v)", "'x'", "'x'"},
                        Case{"CREATE UNIQUE INDEX ui ON t(v COLLATE NOCASE)", "'x'", "'X'"},
                        Case{"CREATE UNIQUE INDEX ui ON t(v) WHERE w > 0", "'x'", "'x'"}}) {
    SCOPED_TRACE(c.index);
    // Made after tracking: noticed at the next use.
    Peer a(kSchema, {"t"}), b(kSchema, {"t"});
    a.run(std::string("INSERT INTO t VALUES('1', ") + c.victim + ", 1)");
    b.fetch(a);
    a.run(c.index);
    ASSERT_TRUE(a.rejoin().fold().ok());
    a.run(std::string("INSERT OR REPLACE INTO t VALUES('2', ") + c.intruder + ", 1)");
    b.fetch(a);
    EXPECT_EQ(b.rows("SELECT id FROM t"), "'2'\n");
    a.expect_sound();
  }
}

TEST(AppSchema, ReplaceThroughAUniqueIndexThatNobodyHasNoticedYetIsADeletion) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('1', 'x', 1), ('2', 'y', 1), ('3', 'z', 1), ('4', 'u', 1)");
  b.fetch(a);
  a.run("INSERT INTO t VALUES('5', 'v', 1); CREATE UNIQUE INDEX ui ON t(v)");
  // Rows that were there before, one that came with the last writes, one that is deleted besides, one that comes back.
  a.run(
      "INSERT OR REPLACE INTO t VALUES('6', 'x', 2); UPDATE OR REPLACE t SET v = 'v' WHERE id = '2';"
      "DELETE FROM t WHERE id = '3'; INSERT OR REPLACE INTO t VALUES('7', 'u', 2); INSERT INTO t VALUES('4', 'w', 2)");
  b.fetch(a);
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows("SELECT * FROM t ORDER BY id"), "'2'|'v'|1\n'4'|'w'|2\n'6'|'x'|2\n'7'|'u'|2\n");
    p->expect_sound();
  }
  // Its values are lost here only.
  const sim::Value id = sim::Value::text("1");
  EXPECT_EQ(a.rejoin().restore("t", {id.ref()}).error().code, Code::not_found);
  b.run("UPDATE t SET v = 'free' WHERE id = '6'");
  EXPECT_TRUE(b.restore("t", {sim::Value::text("1")}));
  exchange(a, b);
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows("SELECT * FROM t WHERE id < '2'"), "'1'|'x'|1\n");
    p->expect_sound();
  }
  EXPECT_EQ(a.fetch(b) + b.fetch(a), 0u);
}

TEST(AppSchema, AHiddenRowShowsWhenALocalWriteMakesRoom) {
  const char* schema = "CREATE TABLE u(id TEXT PRIMARY KEY, mail TEXT UNIQUE, n INTEGER DEFAULT '5')";
  Peer a(schema, {"u"}), b(schema, {"u"});
  a.clock().advance(1000);
  a.run("INSERT INTO u(id, mail) VALUES('a', 'x')");
  b.run("INSERT INTO u(id, mail) VALUES('b', 'x')");
  b.fetch(a);
  EXPECT_EQ(b.number("SELECT count(*) FROM rejoin_parked"), 1);
  b.run("DELETE FROM u WHERE id = 'b'");
  ASSERT_TRUE(b.rejoin().fold().ok());
  EXPECT_EQ(b.rows("SELECT * FROM u"), "'a'|'x'|5\n");
  b.expect_sound();
}

TEST(AppSchema, ManyHiddenRowsAllGetTheirTurn) {
  const char* schema = "CREATE TABLE u(id TEXT PRIMARY KEY, mail TEXT UNIQUE)";
  Peer a(schema, {"u"}), b(schema, {"u"});
  const std::string numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) ";
  a.run(numbers + "INSERT INTO u SELECT printf('a%05d', i), 'm' || i FROM n");
  b.clock().set(1'700'000'001'000);
  b.run(numbers + "INSERT INTO u SELECT printf('b%05d', i), 'm' || i FROM n");
  a.fetch(b);
  EXPECT_EQ(a.number("SELECT count(*) FROM rejoin_parked"), 1200);
  a.run("DELETE FROM u WHERE id = 'a01199'");
  ASSERT_TRUE(a.rejoin().fold().ok());
  EXPECT_EQ(a.rows("SELECT id FROM u WHERE mail = 'm1199'"), "'b01199'\n");
}

TEST(AppSchema, ABackupRestoredThroughTheSameConnectionIsRead) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"}), c(kSchema, {"t"}), backup(kSchema, {"t"});
  b.run("INSERT INTO t VALUES('b', 1, 1)");
  c.run("INSERT INTO t VALUES('c', 1, 1)");
  a.fetch(b);
  Bytes from_c = c.changeset();
  a.apply(from_c);
  sqlite3_backup* copy = sqlite3_backup_init(a.handle(), "main", backup.handle(), "main");
  ASSERT_TRUE(copy);
  EXPECT_EQ(sqlite3_backup_step(copy, -1), SQLITE_DONE);
  EXPECT_EQ(sqlite3_backup_finish(copy), SQLITE_OK);
  a.apply(from_c);
  EXPECT_EQ(a.rows("SELECT id FROM t"), "'c'\n");
  a.expect_sound();
}

TEST(AppSchema, ADoctorLeavesNoSnapshotOpen) {
  Peer a(kSchema, {"t"}, "doctor.db");
  a.run("INSERT INTO t VALUES('1', 1, 1), ('2', 2, 2)");
  ASSERT_TRUE(a.rejoin(0).doctor().ok());
  EXPECT_EQ(sqlite3_txn_state(a.handle(0), "main"), SQLITE_TXN_NONE);
  a.run_on(1, "INSERT INTO t VALUES('3', 3, 3)");
  a.run_on(0, "INSERT INTO t VALUES('4', 4, 4)");
}

TEST(AppSchema, ManyRowsWithAnUnknownColumnAreParked) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v, w, extra)", {"t"}), b(kSchema, {"t"});
  a.run(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT 'k' || i, "
      "i, "
      "i, i FROM n");
  b.fetch(a);
  EXPECT_EQ(b.number("SELECT count(*) FROM t"), 5000);
  EXPECT_EQ(b.number("SELECT count(*) FROM rejoin_parked"), 5000);
  b.run("ALTER TABLE t ADD COLUMN extra");
  ASSERT_TRUE(b.rejoin().fold().ok());
  EXPECT_EQ(b.number("SELECT count(*) FROM t WHERE extra = v"), 5000);
  b.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
