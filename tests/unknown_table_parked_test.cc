// P9: what this database cannot hold yet (tables and columns of a newer peer, constraints) is parked with its reason,
// holds nothing back, and appears by itself when it can.
#include <gtest/gtest.h>

#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kT = "CREATE TABLE t(id TEXT PRIMARY KEY, v)";
constexpr const char* kU = "CREATE TABLE u(id TEXT PRIMARY KEY, w)";

TEST(Parked, RowsOfAnUnknownTableWaitUntilItIsTracked) {
  Peer a(std::string(kT) + ";" + kU, {"t", "u"}), b(kT, {"t"});
  a.run(
      "INSERT INTO t VALUES('1', 1); INSERT INTO u VALUES('x', 'kept'), ('y', 'deleted'); DELETE FROM u WHERE id = "
      "'y'");
  Bytes frame = a.changeset(0);
  auto outcome = b.apply(frame);
  EXPECT_EQ(outcome.rows_changed, 1u);
  EXPECT_EQ(outcome.rows_parked, 2u);
  EXPECT_EQ(b.rows("SELECT * FROM t"), "'1'|1\n");
  EXPECT_EQ(b.rows("SELECT DISTINCT table_name, key FROM rejoin_parked ORDER BY 2"), "'u'|'[\"x\"]'\n'u'|'[\"y\"]'\n");
  // Again is no second copy.
  b.apply(frame);
  EXPECT_EQ(b.number("SELECT count(*) FROM rejoin_parked"), 2);
  b.run(kU);
  b.track("u");
  EXPECT_EQ(b.rows("SELECT * FROM u"), "'x'|'kept'\n");
  EXPECT_EQ(b.rows("SELECT * FROM rejoin_parked"), "");
  EXPECT_TRUE(b.restore("u", {sim::Value::text("y")}));
  b.expect_sound();
}

TEST(Parked, NewsAboutOneRowIsMergedInAnyOrderLater) {
  Peer a(kU, {"u"}), b(kT, {"t"});
  a.run("INSERT INTO u VALUES('x', 1)");
  b.fetch(a);
  a.run("UPDATE u SET w = 2");
  b.fetch(a);
  a.run("UPDATE u SET w = 3");
  b.fetch(a);
  b.run(kU);
  b.track("u");
  EXPECT_EQ(b.rows("SELECT * FROM u"), "'x'|3\n");
  b.expect_sound();
}

TEST(Parked, WhatWasWrittenHereBeforeLosesOrWinsByTime) {
  Peer a(kU, {"u"}), b(std::string(kT) + ";" + kU, {"t"});
  b.run("INSERT INTO u VALUES('x', 'from before tracking'), ('z', 'mine')");
  a.run("INSERT INTO u VALUES('x', 'tracked')");
  b.fetch(a);
  b.track("u");
  EXPECT_EQ(b.rows("SELECT * FROM u ORDER BY id"), "'x'|'tracked'\n'z'|'mine'\n");
  exchange(a, b);
  EXPECT_EQ(a.rows("SELECT * FROM u ORDER BY id"), "'x'|'tracked'\n'z'|'mine'\n");
}

TEST(Parked, AColumnThatThisTableLacksWaitsForIt) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v, colour TEXT DEFAULT 'red')", {"t"}), b(kT, {"t"});
  a.run("INSERT INTO t VALUES('1', 1, 'blue'), ('2', 2, 'green')");
  b.fetch(a);
  // What it knows is there at once.
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'1'|1\n'2'|2\n");
  b.run("UPDATE t SET v = 10 WHERE id = '1'");
  exchange(a, b);
  EXPECT_EQ(a.rows("SELECT * FROM t ORDER BY id"), "'1'|10|'blue'\n'2'|2|'green'\n");
  b.run("ALTER TABLE t ADD COLUMN colour TEXT DEFAULT 'red'");
  ASSERT_TRUE(b.rejoin().fold().ok());
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'1'|10|'blue'\n'2'|2|'green'\n");
  EXPECT_EQ(b.rows("SELECT * FROM rejoin_parked"), "");
  b.expect_sound();
}

TEST(Parked, ColumnsAreKnownByNameNotByPlace) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, x, y, z)", {"t"}),
      b("CREATE TABLE t(z, y, id TEXT PRIMARY KEY, x)", {"t"});
  a.run("INSERT INTO t VALUES('1', 'x', 'y', 'z')");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id, x, y, z FROM t"), "'1'|'x'|'y'|'z'\n");
  b.run("UPDATE t SET z = 'Z'");
  a.fetch(b);
  EXPECT_EQ(a.rows("SELECT * FROM t"), "'1'|'x'|'y'|'Z'\n");
}

TEST(Parked, AColumnThatANewPeerNeverSendsReadsAsItsDefault) {
  Peer old(kT, {"t"}), fresh("CREATE TABLE t(id TEXT PRIMARY KEY, v, colour TEXT NOT NULL DEFAULT 'red')", {"t"});
  old.run("INSERT INTO t VALUES('1', 1)");
  fresh.fetch(old);
  EXPECT_EQ(fresh.rows("SELECT * FROM t"), "'1'|1|'red'\n");
  fresh.expect_sound();
}

TEST(Parked, UnknownTablesCanBeRefusedRowByRow) {
  Peer a(std::string(kT) + ";" + kU, {"t", "u"}), b(kT, {"t"});
  a.run("INSERT INTO t VALUES('1', 1); INSERT INTO u VALUES('x', 1)");
  sqlite::ApplyOptions options;
  options.refuse_unknown = true;
  auto result = b.rejoin().apply(a.changeset(0), options);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->rows_changed, 1u);
  ASSERT_EQ(result->refused.size(), 1u);
  EXPECT_EQ(result->refused[0].code, Code::schema_refused);
}

TEST(Parked, ARowThatTheTableRefusesHidesAloneAndShowsWhenItCan) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v)", {"t"}),
      b("CREATE TABLE t(id TEXT PRIMARY KEY, v NOT NULL CHECK (v < 100))", {"t"}), c(kT, {"t"});
  a.run("INSERT INTO t VALUES('1', 1), ('2', NULL), ('3', 500), ('4', 4)");
  auto outcome = b.apply(a.changeset(0));
  EXPECT_EQ(outcome.rows_parked, 2u);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'1'|1\n'4'|4\n");
  EXPECT_EQ(b.number("SELECT count(*) FROM rejoin_parked"), 2);
  // Hidden here, but passed on.
  c.fetch(b);
  EXPECT_EQ(c.rows("SELECT * FROM t ORDER BY id"), "'1'|1\n'2'|null\n'3'|500\n'4'|4\n");
  a.run("UPDATE t SET v = 50 WHERE id = '3'; DELETE FROM t WHERE id = '2'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'1'|1\n'3'|50\n'4'|4\n");
  EXPECT_EQ(b.number("SELECT count(*) FROM rejoin_parked"), 0);
  b.expect_sound();
}

TEST(Parked, AVisibleRowThatGetsAValueItCannotHoldHides) {
  Peer a(kT, {"t"}), b("CREATE TABLE t(id TEXT PRIMARY KEY, v NOT NULL)", {"t"});
  a.run("INSERT INTO t VALUES('1', 1)");
  b.fetch(a);
  a.run("UPDATE t SET v = NULL");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t"), "");
  a.run("UPDATE t SET v = 2");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t"), "'1'|2\n");
  b.expect_sound();
}

TEST(Parked, AValueThatTheColumnsTypeWouldChangeIsNotApplied) {
  Peer a(kT, {"t"}), b("CREATE TABLE t(id TEXT PRIMARY KEY, v INTEGER)", {"t"}), c(kT, {"t"});
  a.run("INSERT INTO t VALUES('1', '007'), ('2', 7), ('3', 'seven')");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'2'|7\n'3'|'seven'\n");
  EXPECT_EQ(b.number("SELECT count(*) FROM rejoin_parked"), 1);
  c.fetch(b);
  EXPECT_EQ(c.rows("SELECT * FROM t ORDER BY id"), "'1'|'007'\n'2'|7\n'3'|'seven'\n");
}

TEST(Parked, TwoRowsWithOneUniqueValueAreBothKeptAndShowWhenTheyCan) {
  const char* schema = "CREATE TABLE u(id TEXT PRIMARY KEY, mail TEXT UNIQUE)";
  Peer a(schema, {"u"}), b(schema, {"u"});
  a.run("INSERT INTO u VALUES('1', 'x@y')");
  b.clock().advance(5);
  b.run("INSERT INTO u VALUES('2', 'x@y'), ('3', 'z@y')");
  exchange(a, b);
  // Both show the older claim, with its own values, and list the other.
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows("SELECT * FROM u ORDER BY id"), "'1'|'x@y'\n'3'|'z@y'\n");
    EXPECT_EQ(p->rows("SELECT key FROM rejoin_parked"), "'[\"2\"]'\n");
  }
  // The reason goes, the row shows.
  a.run("UPDATE u SET mail = 'other@y' WHERE mail = 'x@y'");
  exchange(a, b);
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->number("SELECT count(*) FROM u"), 3);
}

// Symptom: joined to one entry they were more than a frame may hold, and never came back.
TEST(Parked, LargeNewsOfOneRowIsJoinedWithinBounds) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v, p, q, r)", {"t"}), b(kT, {"t"});
  a.run("INSERT INTO t(id) VALUES('1')");
  for (int edit = 0; edit < 2; ++edit)
    for (const char* column : {"p", "q", "r"}) {
      a.clock().advance(1000);
      b.clock().advance(1000);
      a.run(std::string("UPDATE t SET ") + column + " = zeroblob(7 << 20)");
      b.fetch(a);
    }
  EXPECT_EQ(b.number("SELECT count(*) FROM rejoin_parked"), 2);
  EXPECT_LE(b.number("SELECT max(length(frame)) FROM rejoin_aside"), 16 << 20);
  for (const char* column : {"p", "q", "r"}) b.run(std::string("ALTER TABLE t ADD COLUMN ") + column);
  ASSERT_TRUE(b.rejoin().fold().ok());
  EXPECT_EQ(b.rows("SELECT length(p), length(q), length(r) FROM t"), "7340032|7340032|7340032\n");
  b.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
