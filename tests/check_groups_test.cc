// P3's stated exception, P9: columns that one CHECK or one composite foreign key reads are written together, so that
// every merged row was valid where it was written; what a table refuses all the same waits, and nothing else with it.
#include <gtest/gtest.h>

#include "tests/support/constrained.h"

namespace rejoin::testing {
namespace {

TEST(CheckGroups, TwoValidEditsOfColumnsOfOneCheckDoNotMakeAnInvalidRow) {
  for (const char* schema :
       {"CREATE TABLE t(id TEXT PRIMARY KEY, low, high, note, CHECK (low <= high))",
        "CREATE TABLE t(id TEXT PRIMARY KEY, low CHECK (\"low\" <= high), high, note)",
        "CREATE TABLE t(id TEXT PRIMARY KEY, low, high, note, span AS (high - low) CHECK (span >= 0))",
        "CREATE TABLE t(id TEXT PRIMARY KEY, low, high, note, twice AS (low * 2), span AS (high * 2 - twice) STORED, "
        "CHECK /* not -- (note) */ (span >= 0 AND 'note' <> ''))"}) {
    SCOPED_TRACE(schema);
    tell({.schema = schema,
          .tracked = {"t"},
          .before = {"INSERT INTO t(id, low, high, note) VALUES('1', 1, 10, '')"},
          // Each is valid, low 8 with high 5 is not.
          .apart = {{0, "UPDATE t SET low = 8"}, {1, "UPDATE t SET high = 5"}, {2, "UPDATE t SET note = 'kept'"}},
          .query = "SELECT low, high, note FROM t",
          .rows = "1|5|'kept'\n"});
  }
}

TEST(CheckGroups, ColumnsOfOneCompositeForeignKeyAreWrittenTogether) {
  tell({.schema =
            "PRAGMA foreign_keys = ON; CREATE TABLE places(country TEXT, code INTEGER, PRIMARY KEY(country, code));"
            "CREATE TABLE stops(id TEXT PRIMARY KEY, country TEXT, place INTEGER, n,"
            "  FOREIGN KEY(country, place) REFERENCES places)",
        .tracked = {"places", "stops"},
        .before =
            {"INSERT INTO places VALUES('DE', 1), ('DE', 2), ('FR', 1); INSERT INTO stops VALUES('s', 'DE', 1, 0)"},
        .apart = {{0, "UPDATE stops SET place = 2"}, {1, "UPDATE stops SET country = 'FR'"}},
        .query = "SELECT * FROM stops",
        .rows = "'s'|'FR'|1|0\n"});
}

TEST(CheckGroups, WhatACheckRefusesHereWaitsUntilTheSchemaAllowsIt) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v)", {"t"});
  Peer b("CREATE TABLE t(id TEXT PRIMARY KEY, v CHECK (v < 10))", {"t"});
  a.run("INSERT INTO t VALUES('1', 5), ('2', 50), ('3', 6)");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'1'|5\n'3'|6\n");
  EXPECT_EQ(b.rows("SELECT key, reason FROM rejoin_parked"), "'[\"2\"]'|'CHECK constraint failed: v < 10'\n");
  a.run("UPDATE t SET v = 9 WHERE id = '2'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'1'|5\n'2'|9\n'3'|6\n");
  b.expect_sound();
}

TEST(CheckGroups, ANotNullColumnOfOneSideOnly) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v)", {"t"});
  Peer b("CREATE TABLE t(id TEXT PRIMARY KEY, v, n INTEGER NOT NULL, d INTEGER NOT NULL DEFAULT 7)", {"t"});
  a.run("INSERT INTO t VALUES('1', 'x')");
  b.run("INSERT INTO t VALUES('2', 'y', 2, 3)");
  exchange(a, b);
  EXPECT_EQ(a.rows("SELECT * FROM t ORDER BY id"), "'1'|'x'\n'2'|'y'\n");
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'2'|'y'|2|3\n");
  EXPECT_EQ(b.rows("SELECT key, reason FROM rejoin_parked"), "'[\"1\"]'|'NOT NULL constraint failed: t.n'\n");
  a.run(
      "ALTER TABLE t ADD COLUMN n INTEGER; ALTER TABLE t ADD COLUMN d INTEGER NOT NULL DEFAULT 7; UPDATE t SET n = 1 "
      "WHERE id = '1'");
  exchange(a, b);
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows("SELECT * FROM t ORDER BY id"), "'1'|'x'|1|7\n'2'|'y'|2|3\n");
    p->expect_sound();
  }
}

TEST(CheckGroups, AStrictTableParksWhatItsTypesRefuse) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, i, n)", {"t"});
  Peer b("CREATE TABLE t(id TEXT PRIMARY KEY, i INTEGER, n ANY) STRICT", {"t"});
  a.run("INSERT INTO t VALUES('1', 1, 'y'), ('2', 'two', 'x'), ('3', 3, NULL)");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'1'|1|'y'\n'3'|3|null\n");
  EXPECT_EQ(b.rows("SELECT key, reason FROM rejoin_parked"),
            "'[\"2\"]'|'cannot store TEXT value in INTEGER column t.i'\n");
  b.expect_sound(true);
  // It is passed on as it was.
  Peer c("CREATE TABLE t(id TEXT PRIMARY KEY, i, n)", {"t"});
  c.fetch(b);
  EXPECT_EQ(c.rows("SELECT * FROM t ORDER BY id"), a.rows("SELECT * FROM t ORDER BY id"));
}

}  // namespace
}  // namespace rejoin::testing
