// OR REPLACE puts a default in the place of a NULL, and numbers keys, after BEFORE triggers have run: rows that this
// displaces are deleted everywhere all the same.
#include <gtest/gtest.h>

#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

struct Displacing {
  const char* name;
  const char* schema;
  const char* rows;
  const char* statement;
  int64_t left;
};

class DisplacedByDefaults : public ::testing::TestWithParam<Displacing> {};

TEST_P(DisplacedByDefaults, TheRowIsDeletedEverywhere) {
  const Displacing& c = GetParam();
  sqlite::TrackOptions options;
  options.allow_integer_key = true;
  Peer a(c.schema), b(c.schema);
  for (Peer* p : {&a, &b}) p->track("t", options);
  for (const char* recursive : {"PRAGMA recursive_triggers=OFF", "PRAGMA recursive_triggers=ON"}) {
    SCOPED_TRACE(recursive);
    a.run(std::string("DELETE FROM t; ") + c.rows);
    exchange(a, b);
    for (Peer* p : {&a, &b}) p->clock().advance(1000);
    a.run(recursive);
    a.run(c.statement);
    EXPECT_EQ(a.number("SELECT count(*) FROM t"), c.left);
    exchange(a, b);
    EXPECT_EQ(a.rows("SELECT * FROM t ORDER BY 1, 2"), b.rows("SELECT * FROM t ORDER BY 1, 2"));
    a.expect_sound();
    b.expect_sound();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Stories, DisplacedByDefaults,
    ::testing::Values(
        Displacing{"Insert", "CREATE TABLE t(id TEXT PRIMARY KEY, pos INTEGER NOT NULL DEFAULT 0 UNIQUE, note)",
                   "INSERT INTO t VALUES('1', 0, 'one'), ('3', 5, 'three')",
                   "INSERT OR REPLACE INTO t(id, pos) VALUES('2', NULL)", 2},
        Displacing{"Update", "CREATE TABLE t(id TEXT PRIMARY KEY, pos INTEGER NOT NULL DEFAULT 0 UNIQUE, note)",
                   "INSERT INTO t VALUES('1', 0, 'one'), ('3', 5, 'three')",
                   "UPDATE OR REPLACE t SET pos = NULL WHERE id = '3'", 1},
        Displacing{"QuotedText",
                   "CREATE TABLE t(id TEXT PRIMARY KEY, \"a \"\"b\" TEXT NOT NULL DEFAULT 'it''s' UNIQUE)",
                   "INSERT INTO t VALUES('1', 'it''s'), ('2', 'y')", "INSERT OR REPLACE INTO t VALUES('3', NULL)", 2},
        Displacing{"ANameForText", "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT NOT NULL DEFAULT none UNIQUE)",
                   "INSERT INTO t VALUES('1', 'none'), ('2', 'y')", "INSERT OR REPLACE INTO t VALUES('3', NULL)", 2},
        Displacing{"NumberInText", "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT NOT NULL DEFAULT 1e2 UNIQUE, b)",
                   "INSERT INTO t(id) VALUES('1'); INSERT INTO t VALUES('2', 'y', 1)",
                   "INSERT OR REPLACE INTO t VALUES('3', NULL, 2)", 2},
        Displacing{"NegativeReal", "CREATE TABLE t(id TEXT PRIMARY KEY, a REAL NOT NULL DEFAULT -1.5 UNIQUE)",
                   "INSERT INTO t VALUES('1', -1.5), ('2', 2)", "INSERT OR REPLACE INTO t VALUES('3', NULL)", 2},
        Displacing{"Blob", "CREATE TABLE t(id TEXT PRIMARY KEY, a NOT NULL DEFAULT x'00ff' UNIQUE)",
                   "INSERT INTO t VALUES('1', x'00ff'), ('2', 2)", "INSERT OR REPLACE INTO t VALUES('3', NULL)", 2},
        Displacing{"Expression",
                   "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT NOT NULL DEFAULT 'None', b); CREATE UNIQUE INDEX i ON "
                   "t(lower(a), b) WHERE a > 'A'",
                   "INSERT INTO t VALUES('1', 'NONE', 1), ('2', 'none', 2)",
                   "INSERT OR REPLACE INTO t VALUES('3', NULL, 1)", 2},
        Displacing{"Generated",
                   "CREATE TABLE t(id TEXT PRIMARY KEY, a INT NOT NULL DEFAULT 3, g INT AS (a + 1) STORED UNIQUE)",
                   "INSERT INTO t(id, a) VALUES('1', 3), ('2', 2)", "INSERT OR REPLACE INTO t(id, a) VALUES('9', NULL)",
                   2},
        Displacing{"GeneratedFromGenerated",
                   "CREATE TABLE t(id TEXT PRIMARY KEY, a INT NOT NULL DEFAULT 3, g INT AS (a + 1), h INT AS (g * 2)); "
                   "CREATE UNIQUE INDEX i ON t(h)",
                   "INSERT INTO t(id, a) VALUES('1', 3), ('2', 2)", "UPDATE OR REPLACE t SET a = NULL WHERE id = '2'",
                   1},
        Displacing{
            "KeyWithoutRowid",
            "CREATE TABLE t(a TEXT, b TEXT NOT NULL DEFAULT 'q', u TEXT UNIQUE, PRIMARY KEY(a, b)) WITHOUT ROWID",
            "INSERT INTO t VALUES('1', 'q', 'x'), ('2', 'q', 'y')",
            "INSERT OR REPLACE INTO t(a, b, u) VALUES('1', NULL, 'y')", 1},
        Displacing{"KeyThatIsNumberedLater", "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT UNIQUE)",
                   "INSERT INTO t VALUES(-1, 'x'), (2, 'y')", "INSERT OR REPLACE INTO t(u) VALUES('x')", 2},
        Displacing{"KeyMinusOneItself", "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT UNIQUE)",
                   "INSERT INTO t VALUES(-1, 'x'), (2, 'y')", "INSERT OR REPLACE INTO t VALUES(-1, 'x')", 2}),
    [](const auto& story) { return story.param.name; });

}  // namespace
}  // namespace rejoin::testing
