// A column that is renamed between rejoin_alter_begin and rejoin_alter_commit stays the column that it was, whatever
// the table holds and whatever else the session does.
#include <gtest/gtest.h>

#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, title TEXT, n INTEGER DEFAULT 5, \"q\"\"x\" TEXT)";

class RenamesInSessions : public ::testing::Test {
 protected:
  RenamesInSessions() : a(kSchema, {"t"}), b(kSchema, {"t"}) {}
  void migrate(Peer& p, const std::string& sql, bool by_alter = false) {
    ASSERT_TRUE(p.rejoin().alter_begin("t").ok());
    if (by_alter)
      ASSERT_TRUE(p.rejoin().alter(sql).ok());
    else
      p.run(sql);
    Status done = p.rejoin().alter_commit("t");
    ASSERT_TRUE(done.ok()) << done.error().message;
    a.clock().advance(1000), b.clock().advance(1000);
  }
  void expect_same() {
    for (int i = 0; i < 2; ++i) exchange(a, b);
    EXPECT_EQ(a.rows("SELECT * FROM t ORDER BY id"), b.rows("SELECT * FROM t ORDER BY id"));
    for (Peer* p : {&a, &b}) p->expect_sound();
  }
  Peer a, b;
};

TEST_F(RenamesInSessions, OfAnEmptyTableLostTheValuesOfOthersToView) {
  for (const bool by_alter : {false, true}) {
    SCOPED_TRACE(by_alter);
    Peer fresh(kSchema, {"t"});
    a.run("INSERT OR REPLACE INTO t VALUES('1', 'milk', 1, 'x')");
    migrate(fresh, "ALTER TABLE t RENAME COLUMN title TO what", by_alter);
    fresh.apply(a.changeset());
    EXPECT_EQ(fresh.rows("SELECT what, n FROM t"), "'milk'|1\n");
    fresh.expect_sound();
  }
}

TEST_F(RenamesInSessions, OfAColumnThatOnlyHoldsNullsLostTheValuesOfOthersToView) {
  a.run("INSERT INTO t(id) VALUES('1')");
  b.fetch(a);
  migrate(b, "ALTER TABLE t RENAME COLUMN title TO what; ALTER TABLE t RENAME COLUMN \"q\"\"x\" TO \"z \"\"y\"");
  a.run("UPDATE t SET title = 'milk', \"q\"\"x\" = 'q'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t"), "'1'|'milk'|5|'q'\n");
  b.expect_sound();
}

TEST_F(RenamesInSessions, WithAnUpdateOfItsValuesWroteAllOfThemAnew) {
  a.run("INSERT INTO t(id, title) VALUES('1', ' milk'), ('2', 'bread'), ('3', 'salt')");
  b.fetch(a);
  const char* migration = "ALTER TABLE t RENAME COLUMN title TO what; UPDATE t SET what = trim(what)";
  migrate(a, migration);
  const int64_t since = a.seq();
  a.run("UPDATE t SET what = 'by a' WHERE id = '2'");
  b.run("UPDATE t SET title = 'by b' WHERE id = '3'");
  a.clock().advance(1000), b.clock().advance(1000);
  migrate(b, migration);
  EXPECT_GT(a.seq(), since);
  expect_same();
  EXPECT_EQ(a.rows("SELECT what FROM t ORDER BY id"), "'milk'\n'by a'\n'by b'\n");
}

TEST_F(RenamesInSessions, OfColumnsThatChangeNamesKeepTheirValues) {
  a.run("INSERT INTO t VALUES('1', 'title', 1, 'x')");
  b.fetch(a);
  const char* swap =
      "ALTER TABLE t RENAME COLUMN title TO tmp; ALTER TABLE t RENAME COLUMN \"q\"\"x\" TO title; ALTER TABLE t RENAME "
      "COLUMN tmp TO \"q\"\"x\"; ALTER TABLE t DROP COLUMN n; ALTER TABLE t ADD COLUMN n2 INTEGER DEFAULT 3";
  const int64_t before = a.seq();
  migrate(a, swap);
  EXPECT_EQ(a.changeset(before), Bytes());
  migrate(b, swap);
  EXPECT_EQ(a.rows("SELECT \"q\"\"x\", title, n2 FROM t"), "'title'|'x'|3\n");
  a.run("UPDATE t SET title = 'new'");
  expect_same();
  EXPECT_EQ(b.rows("SELECT \"q\"\"x\", title, n2 FROM t"), "'title'|'new'|3\n");
}

TEST_F(RenamesInSessions, ToTheNameOfADroppedColumnEndedTheSessionWithAnError) {
  for (const char* migration :
       {"ALTER TABLE t DROP COLUMN title; ALTER TABLE t RENAME COLUMN n TO title",
        "ALTER TABLE t RENAME COLUMN n TO tmp; ALTER TABLE t RENAME COLUMN title TO n; ALTER TABLE t DROP COLUMN n;"
        "ALTER TABLE t RENAME COLUMN tmp TO title",
        "ALTER TABLE t DROP COLUMN title; ALTER TABLE t RENAME COLUMN n TO title; ALTER TABLE t ADD COLUMN n"}) {
    SCOPED_TRACE(migration);
    Peer x(kSchema, {"t"}), y(kSchema, {"t"});
    x.run("INSERT INTO t VALUES('1', 'milk', 7, 'q'), ('2', 'dead', 8, 'q'); DELETE FROM t WHERE id = '2'");
    y.fetch(x);
    for (Peer* p : {&x, &y}) migrate(*p, migration);
    EXPECT_EQ(x.rows("SELECT id, title FROM t"), "'1'|7\n");
    x.run("UPDATE t SET title = 9");
    y.fetch(x);
    EXPECT_EQ(y.rows("SELECT id, title FROM t"), "'1'|9\n");
    EXPECT_TRUE(y.restore("t", {sim::Value::text("2")}));
    EXPECT_EQ(y.rows("SELECT id, title FROM t ORDER BY id"), "'1'|9\n'2'|8\n");
    for (Peer* p : {&x, &y}) p->expect_sound();
  }
}

// Two columns had the name one after the other: their values tell which of them has it now.
TEST_F(RenamesInSessions, ThroughANameThatAnotherDroppedColumnHadAreToldByTheValues) {
  a.run("INSERT INTO t VALUES('1', 'milk', 7, 'q')");
  migrate(a, "ALTER TABLE t RENAME COLUMN title TO z; ALTER TABLE t DROP COLUMN z; ALTER TABLE t RENAME COLUMN n TO z");
  EXPECT_EQ(a.rows("SELECT id, z FROM t"), "'1'|7\n");
  a.expect_sound();
}

TEST_F(RenamesInSessions, OfAKeyColumnInAnEmptyTableIsFollowed) {
  a.run("INSERT INTO t(id, title) VALUES('1', 'milk')");
  migrate(b, "ALTER TABLE t RENAME COLUMN id TO uid");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT uid, title FROM t"), "'1'|'milk'\n");
  b.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
