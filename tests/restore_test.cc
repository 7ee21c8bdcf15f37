// P2: a deleted row can be brought back with the columns it had, edits made meanwhile included. Deleting and reviving
// follow the clock.
#include <gtest/gtest.h>

#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

using sim::Value;
constexpr const char* kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v, w DEFAULT 5)";
constexpr const char* kAll = "SELECT * FROM t ORDER BY id";
const sim::Key kKey = {Value::text("k")};

Code restore_code(Peer& p, const std::string& table, const sim::Key& key) {
  std::vector<crdt::ValueRef> refs;
  for (const Value& v : key) refs.push_back(v.ref());
  auto result = p.rejoin().restore(table, refs);
  return result.ok() ? Code::ok : result.error().code;
}

TEST(Restore, BringsBackEveryValueExactly) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', ?1, ?2)", {Value::of(0.1), Value::blob(std::string("\0\xff", 2))});
  b.fetch(a);
  a.run("DELETE FROM t");
  b.fetch(a);
  EXPECT_EQ(b.rows(kAll), "");
  EXPECT_TRUE(a.restore("t", kKey));
  EXPECT_EQ(a.rows(kAll), "'k'|" + show(Value::of(0.1)) + "|x'00ff'\n");
  EXPECT_FALSE(a.restore("t", kKey));
  b.fetch(a);
  EXPECT_EQ(b.rows(kAll), a.rows(kAll));
  a.expect_sound(), b.expect_sound();
}

TEST(Restore, OnAReplicaThatOnlyHeardOfTheDelete) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1, 2)");
  b.fetch(a);
  a.run("DELETE FROM t");
  b.fetch(a);
  EXPECT_TRUE(b.restore("t", kKey));
  a.fetch(b);
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows(kAll), "'k'|1|2\n");
}

TEST(Restore, OnAReplicaThatMetTheRowDead) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1, 2); UPDATE t SET v = 'edited'; DELETE FROM t");
  b.fetch(a);
  EXPECT_EQ(b.rows(kAll), "");
  EXPECT_TRUE(b.restore("t", kKey));
  a.fetch(b);
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows(kAll), "'k'|'edited'|2\n");
}

TEST(Restore, WithAnEditThatWasMadeElsewhereMeanwhile) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"}), c(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 'old', 'old')");
  b.fetch(a), c.fetch(a);
  a.run("DELETE FROM t");
  b.clock().advance(1000);
  b.run("UPDATE t SET v = 'edited'");
  exchange(a, b);
  // Later than the delete, but an edit does not revive.
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows(kAll), "");
  EXPECT_TRUE(a.restore("t", kKey));
  exchange(a, b), exchange(b, c);
  for (Peer* p : {&a, &b, &c}) {
    EXPECT_EQ(p->rows(kAll), "'k'|'edited'|'old'\n");
    p->expect_sound();
  }
}

TEST(Restore, AnEditOfTheRestoredRowGoesOn) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1, 2); DELETE FROM t");
  EXPECT_TRUE(a.restore("t", kKey));
  a.run("UPDATE t SET v = 3");
  b.fetch(a);
  EXPECT_EQ(b.rows(kAll), "'k'|3|2\n");
}

TEST(Restore, TheLaterOfDeleteAndRestoreWins) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1, 2); DELETE FROM t");
  b.fetch(a);
  EXPECT_TRUE(a.restore("t", kKey));
  EXPECT_TRUE(b.restore("t", kKey));
  b.clock().advance(10);
  b.run("DELETE FROM t");
  exchange(a, b);
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows(kAll), "");
}

TEST(Restore, AnInsertUnderADeadKeyIsANewLife) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 'first life', 'first life')");
  b.fetch(a);
  a.run("DELETE FROM t");
  a.run("INSERT INTO t(id, v) VALUES('k', 'second')");
  // b still edits the first life.
  b.run("UPDATE t SET w = 'late edit'");
  exchange(a, b);
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows("SELECT id, v FROM t"), "'k'|'second'\n");
    p->expect_sound();
  }
  EXPECT_EQ(a.rows(kAll), b.rows(kAll));
}

TEST(Restore, ReplaceIsANewLifeToo) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 'one', 'one')");
  b.fetch(a);
  b.run("UPDATE t SET w = 'edited before the replace'");
  a.clock().advance(1000);
  a.run("INSERT OR REPLACE INTO t(id, v) VALUES('k', 'two')");
  exchange(a, b);
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows(kAll), "'k'|'two'|5\n");
}

TEST(Restore, IsRefusedForARowThatNobodyKnows) {
  Peer a(kSchema, {"t"});
  EXPECT_EQ(restore_code(a, "t", kKey), Code::not_found);
}

TEST(Restore, IsRefusedWithoutValues) {
  Peer a(kSchema), b(kSchema, {"t"});
  sqlite::TrackOptions options;
  options.keep_deleted = false;
  a.track("t", options);
  a.run("INSERT INTO t VALUES('k', 1, 2)");
  b.fetch(a);
  a.run("DELETE FROM t");
  b.fetch(a);
  EXPECT_NE(restore_code(a, "t", kKey), Code::ok);
  EXPECT_EQ(a.rows(kAll), "");
  EXPECT_EQ(a.number("SELECT count(*) FROM t__rejoin_dead"), 0);
  // b kept them.
  EXPECT_TRUE(b.restore("t", kKey));
  a.fetch(b);
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows(kAll), "'k'|1|2\n");
    p->expect_sound();
  }
}

// The log is folded in chunks: the chunk with the insert must not forget what the later delete kept.
TEST(Restore, OfARowThatWasInsertedLongBeforeItsDeletionInOneUnfoldedLog) {
  Peer a(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 'old', 1); DELETE FROM t");
  ASSERT_TRUE(a.rejoin().fold().ok());
  a.run(
      "INSERT INTO t VALUES('k', 'kept', 2); "
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 70000) "
      "INSERT INTO t(id, v) SELECT 'row ' || i, i FROM n; "
      "DELETE FROM t WHERE id = 'k' OR v <> 7");
  EXPECT_TRUE(a.restore("t", kKey));
  EXPECT_EQ(a.rows(kAll), "'k'|'kept'|2\n'row 7'|7|5\n");
  EXPECT_EQ(a.number("SELECT count(*) FROM t__rejoin_dead"), 69'999);
  EXPECT_EQ(a.number("SELECT count(*) FROM t__rejoin_gone"), 0);
  a.expect_sound();
}

TEST(Restore, TakesTheValuesOfTheLastOfSeveralDeletions) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v, w UNIQUE)", {"t"});
  a.run(
      "INSERT INTO t VALUES('k', 1, 1); DELETE FROM t; INSERT INTO t VALUES('k', 2, 2); DELETE FROM t; "
      "INSERT INTO t VALUES('k', 3, 3); REPLACE INTO t VALUES('l', 4, 3)");
  EXPECT_EQ(a.rows(kAll), "'l'|4|3\n");
  a.run("UPDATE t SET w = 5");
  EXPECT_TRUE(a.restore("t", kKey));
  EXPECT_EQ(a.rows(kAll), "'k'|3|3\n'l'|4|5\n");
  a.expect_sound();
}

TEST(Restore, OfARowWhoseColumnsAreNamedAfterSqlitesRowNumber) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, _rowid_, \"RowID\")", {"t"});
  a.run("INSERT INTO t VALUES('k', 9, 8); DELETE FROM t; INSERT INTO t VALUES('k', 1, 2); DELETE FROM t");
  EXPECT_TRUE(a.restore("t", kKey));
  EXPECT_EQ(a.rows(kAll), "'k'|1|2\n");
}

TEST(Restore, ValuesOfAnEarlierLifeAreNotTakenForThoseOfALaterOne) {
  Peer a(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 'old', 1); DELETE FROM t");
  ASSERT_TRUE(a.rejoin().fold().ok());
  sqlite::TrackOptions options;
  options.keep_deleted = false;
  a.track("t", options);
  a.run("INSERT INTO t VALUES('k', 'new', 2); DELETE FROM t");
  EXPECT_NE(restore_code(a, "t", kKey), Code::ok);
  EXPECT_EQ(a.rows(kAll), "");
}

TEST(Restore, CompositeKeysAndQuotedNames) {
  const char* schema = "CREATE TABLE \"my lines\"(\"a b\" TEXT, no INTEGER, v, PRIMARY KEY(no, \"a b\")) WITHOUT ROWID";
  Peer a(schema, {"my lines"});
  a.run("INSERT INTO \"my lines\" VALUES('x', 1, 'one'), ('x', 2, 'two'); DELETE FROM \"my lines\"");
  // In the order of the key, not of the columns.
  EXPECT_TRUE(a.restore("my lines", {Value::of(int64_t{2}), Value::text("x")}));
  EXPECT_EQ(a.rows("SELECT * FROM \"my lines\""), "'x'|2|'two'\n");
  a.expect_sound();
}

TEST(Restore, ARowWhoseUniqueValueIsTakenMeanwhileIsRefusedOrParkedNotLost) {
  const char* schema = "CREATE TABLE u(id TEXT PRIMARY KEY, mail TEXT UNIQUE)";
  Peer a(schema, {"u"});
  a.run("INSERT INTO u VALUES('1', 'x@y'); DELETE FROM u; INSERT INTO u VALUES('2', 'x@y')");
  restore_code(a, "u", {Value::text("1")});
  EXPECT_EQ(a.rows("SELECT * FROM u"), "'2'|'x@y'\n");
  a.run("DELETE FROM u WHERE id = '2'");
  restore_code(a, "u", {Value::text("1")});
  EXPECT_EQ(a.rows("SELECT * FROM u"), "'1'|'x@y'\n");
}

}  // namespace
}  // namespace rejoin::testing
