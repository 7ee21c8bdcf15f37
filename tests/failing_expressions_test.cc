// Expressions of the application's, in an index, a CHECK or a generated column, that fail on some values: rows that
// have these wait, and nothing waits behind them; writes that work without Rejoin work with it.
#include <gtest/gtest.h>

#include "sqlite/api.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

struct Kind {
  const char* name;
  const char* columns;
  const char* index = "";
};

constexpr const char* kPlain = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT);";
constexpr const char* kOther = "CREATE TABLE other(id TEXT PRIMARY KEY, v);";
const std::vector<std::string> kTables = {"t", "other"};

class FailingExpression : public ::testing::TestWithParam<Kind> {
 protected:
  FailingExpression()
      : a(std::string(kPlain) + kOther, kTables),
        b("CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT" + std::string(GetParam().columns) + ");" + GetParam().index +
              kOther,
          kTables),
        c(std::string(kPlain) + kOther, kTables) {}
  Peer a, b, c;  // b has the expression
};

// Symptom: "merging a row into t: malformed JSON", for ever.
TEST_P(FailingExpression, KeepsBackOnlyTheRowsThatItFailsOn) {
  a.run("INSERT INTO t(id, v) VALUES('changed', '{\"a\":1}'), ('kept', '{\"a\":2}')");
  b.fetch(a);
  a.run(
      "UPDATE t SET v = 'no JSON' WHERE id = 'changed'; INSERT INTO t(id, v) VALUES('new', 'none either'); "
      "INSERT INTO other VALUES('o', 1)");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id FROM t ORDER BY id"), "'kept'\n");
  EXPECT_EQ(b.rows("SELECT id FROM other"), "'o'\n");
  const std::string reason = "'an expression or a trigger of \"t\" fails on its values: malformed JSON'\n";
  EXPECT_EQ(b.rows("SELECT key, json_extract(\"values\", '$.v'), reason FROM rejoin_parked ORDER BY key"),
            "'[\"changed\"]'|'no JSON'|" + reason + "'[\"new\"]'|'none either'|" + reason);
  b.expect_sound(true);
  // They are passed on as they are, and come when they can.
  c.fetch(b);
  EXPECT_EQ(c.rows("SELECT id, v FROM t ORDER BY id"), a.rows("SELECT id, v FROM t ORDER BY id"));
  for (Peer* p : {&a, &b, &c}) p->clock().advance(1000);
  c.run("UPDATE t SET v = '{\"a\":3}' WHERE id = 'changed'; DELETE FROM t WHERE id = 'new'");
  b.fetch(c);
  EXPECT_EQ(b.rows("SELECT id, v FROM t ORDER BY id"), "'changed'|'{\"a\":3}'\n'kept'|'{\"a\":2}'\n");
  b.expect_sound();
}

INSTANTIATE_TEST_SUITE_P(
    Of, FailingExpression,
    ::testing::Values(Kind{"index", "", "CREATE INDEX i ON t(json_extract(v, '$.a'));"},
                      Kind{"unique_index", "", "CREATE UNIQUE INDEX i ON t(json_extract(v, '$.a'));"},
                      Kind{"condition", "", "CREATE INDEX i ON t(v) WHERE json_extract(v, '$.a') > 0;"},
                      Kind{"check", " CHECK(json_extract(v, '$.a') <> 'bad')"},
                      Kind{"stored", ", g AS (json_extract(v, '$.a')) STORED"},
                      Kind{"virtual", ", g AS (json_extract(v, '$.a'))"},
                      Kind{"with_triggers", " CHECK(json_extract(v, '$.a') <> 'bad')",
                           "CREATE TABLE l(x); CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO l VALUES(NEW.id); "
                           "END;"}),
    [](const auto& kind) { return std::string(kind.param.name); });

const std::string kGuarded =
    std::string(kPlain) + kOther + "CREATE UNIQUE INDEX i ON t(json_extract(v, '$.a')) WHERE json_valid(v);";

// Symptom: once the table was synced, every program's writes of rows that the index leaves out failed: "malformed
// JSON".
TEST(AGuardedUniqueExpression, IsNotReadWhereItsConditionIsFalse) {
  Peer a(kGuarded, kTables), b(kGuarded, kTables);
  a.run(
      "INSERT INTO t VALUES('1', 'plain text'), ('2', NULL); UPDATE t SET v = 'another' WHERE id = '1'; INSERT INTO t "
      "VALUES('3', '{\"a\":1}')");
  EXPECT_EQ(a.attempt("INSERT INTO t VALUES('4', '{\"a\":1}')"), SQLITE_CONSTRAINT);
  b.fetch(a);
  // What one displaces is deleted everywhere.
  for (Peer* p : {&a, &b}) p->clock().advance(1000);
  a.run("INSERT OR REPLACE INTO t VALUES('5', '{\"a\":1}'), ('6', 'plain text')");
  a.run("UPDATE OR REPLACE t SET v = '{\"a\":1}' WHERE id = '1'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id FROM t ORDER BY id"), "'1'\n'2'\n'6'\n");
  a.expect_sound();
  b.expect_sound();
}

// Symptom: with such an index a row that waited for another cause stopped every merge: "reading a UNIQUE value:
// malformed JSON".
TEST(AGuardedUniqueExpression, StopsNoMergeBesideARowThatWaits) {
  const std::string parent = "CREATE TABLE p(id TEXT PRIMARY KEY);";
  const std::string child = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT, p TEXT REFERENCES p(id));";
  Peer a(parent + child, {"t", "p"}),
      b(parent + child + "CREATE UNIQUE INDEX i ON t(json_extract(v, '$.a')) WHERE json_valid(v);", {"t", "p"});
  a.run("INSERT INTO t VALUES('1', 'plain text', 'x')");
  b.fetch(a);
  a.run("INSERT INTO t VALUES('2', '{\"a\":1}', 'x'), ('3', '{\"a\":1}', 'x')");
  b.fetch(a);
  EXPECT_EQ(b.number("SELECT count(*) FROM rejoin_parked"), 3);
  a.run("INSERT INTO p VALUES('x')");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id FROM t ORDER BY id"), "'1'\n'2'\n");
  EXPECT_EQ(b.rows("SELECT key FROM rejoin_parked"), "'[\"3\"]'\n");
  b.expect_sound(true);
}

// Symptom: SQLite found the row by a narrower index and failed on its values: "looking for who has a UNIQUE value:
// malformed JSON", at every try; UPSERTs of the application's failed likewise.
TEST(AGuardedUniqueExpression, IsNotReadOfRowsThatANarrowerIndexFinds) {
  const std::string schema =
      "CREATE TABLE t(id TEXT PRIMARY KEY, kind TEXT, grp TEXT UNIQUE, d TEXT); CREATE TABLE other(id TEXT PRIMARY "
      "KEY, v); CREATE UNIQUE INDEX u ON t(grp, json_extract(d, '$.k')) WHERE kind = 'json'";
  for (const bool there_first : {true, false}) {
    Peer a(schema, kTables), b(schema, kTables);
    b.run(there_first ? "INSERT INTO t VALUES('p', 'plain', 'g', 'no JSON')"
                      : "INSERT INTO t VALUES('p', 'json', 'g', '{}')");
    b.seq();
    for (Peer* p : {&a, &b}) p->clock().advance(1000);
    a.run("INSERT INTO t VALUES('x', 'json', 'g', '{\"k\":1}'); INSERT INTO other VALUES('o', 1)");
    b.fetch(a);
    if (!there_first) b.run("UPDATE t SET kind = 'plain', d = 'no JSON' WHERE id = 'p'");
    EXPECT_TRUE(b.rejoin().fold().ok());
    EXPECT_EQ(b.rows("SELECT id FROM t"), "'p'\n");
    EXPECT_EQ(b.rows("SELECT id FROM other"), "'o'\n");
    a.fetch(b);
    EXPECT_EQ(a.rows("SELECT id FROM t"), "'p'\n");
    b.run("INSERT INTO t VALUES('q', 'json', 'g', '{\"k\":2}') ON CONFLICT(grp) DO UPDATE SET d = 'mended'");
    EXPECT_EQ(b.rows("SELECT id, d FROM t"), "'p'|'mended'\n");
    b.expect_sound(true);
    a.expect_sound(true);
  }
}

// Symptom: after rejoin_track() every INSERT and UPDATE failed: "no such column: t.NEW.w".
TEST(AGuardedUniqueExpression, MayQualifyTheColumnsOfItsCondition) {
  for (const char* condition : {R"("t"."w" IS NULL)", "main.t.w IS NULL AND t . id <> ''"}) {
    const std::string schema =
        "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT, w); CREATE UNIQUE INDEX i ON t(lower(v)) WHERE ";
    Peer a(schema + condition, {"t"}), b(schema + condition, {"t"});
    a.run("INSERT INTO t VALUES('1', 'x', NULL), ('2', 'X', 1); UPDATE t SET v = 'Y' WHERE id = '2'");
    EXPECT_EQ(a.attempt("INSERT INTO t VALUES('3', 'X', NULL)"), SQLITE_CONSTRAINT) << condition;
    b.fetch(a);
    for (Peer* p : {&a, &b}) p->clock().advance(1000);
    a.run("INSERT OR REPLACE INTO t VALUES('3', 'X', NULL)");
    b.fetch(a);
    EXPECT_EQ(b.rows("SELECT id FROM t ORDER BY id"), "'2'\n'3'\n") << condition;
    b.expect_sound();
  }
}

// Symptom: each replica showed its own row for ever.
TEST(APartialUniqueIndex, TakesANumberBelowOneForTrue) {
  const std::string schema =
      "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT, w REAL); CREATE UNIQUE INDEX i ON t(v) WHERE w";
  Peer a(schema, {"t"}), b(schema, {"t"});
  a.run("INSERT INTO t VALUES('a', 'x', 0.5), ('zero', 'x', 0.0)");
  b.run("INSERT INTO t VALUES('b', 'x', 0.5), ('none', 'x', NULL)");
  exchange(a, b);
  exchange(a, b);
  EXPECT_EQ(a.number("SELECT count(*) FROM t"), 3);
  EXPECT_EQ(a.rows("SELECT * FROM t ORDER BY id"), b.rows("SELECT * FROM t ORDER BY id"));
}

void picky(sqlite3_context* c, int, sqlite3_value** v) {
  if (*static_cast<bool*>(sqlite3_user_data(c))) return sqlite3_result_error(c, "not any more", -1);
  sqlite3_result_value(c, v[0]);
}

// A function that takes what it took no more: another release of the application's, or of SQLite.
class AStoredRow : public ::testing::TestWithParam<const char*> {
 protected:
  AStoredRow() {
    give(0);
    b.run(std::string("CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT);") + kOther +
          "CREATE INDEX computed ON t(picky(v)); CREATE INDEX plain ON t(v)" + GetParam());
    for (const std::string& table : kTables) b.track(table);
    a.run("INSERT INTO t VALUES('changed', 'x'), ('deleted', 'y'), ('kept', 'z')");
    b.fetch(a);
    for (Peer* p : {&a, &b}) p->clock().advance(1000);
  }
  void give(int connection) {
    ASSERT_EQ(sqlite3_create_function_v2(b.handle(connection), "picky", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, &refuses,
                                         picky, nullptr, nullptr, nullptr),
              SQLITE_OK);
  }
  bool refuses = false;
  Peer a{std::string(kPlain) + kOther, kTables}, b{"", {}, "stored_row_" + std::to_string(++made) + ".db"};
  static inline int made = 0;
};

// Symptom: its deletion, or an update, ended every merge: "deleting a row of t"; had it waited for the function, every
// call failed. In a transaction SQLite leaves other indexes without the row, which must not stay so.
TEST_P(AStoredRow, ThatAnIndexFailsOnNowStopsNothingElse) {
  a.run(
      "UPDATE t SET v = 'new' WHERE id = 'changed'; DELETE FROM t WHERE id = 'deleted'; INSERT INTO other VALUES('o', "
      "1)");
  refuses = true;
  for (int round = 0; round < 2; ++round) {
    b.apply(a.changeset());
    EXPECT_EQ(b.rows("SELECT id FROM other"), "'o'\n");
    EXPECT_EQ(b.rows("SELECT id, v FROM t ORDER BY id"), "'changed'|'x'\n'deleted'|'y'\n'kept'|'z'\n");
    EXPECT_EQ(b.rows("SELECT key, reason FROM rejoin_parked ORDER BY key"),
              "'[\"changed\"]'|'an expression or a trigger of \"t\" fails on its values: not any more'\n"
              "'[\"deleted\"]'|'an expression or a trigger of \"t\" fails on its values: not any more'\n");
    EXPECT_EQ(b.number("SELECT count(*) FROM t INDEXED BY plain WHERE v IN ('x', 'y', 'z')"), 3);
  }
  // Its own writes go out, and what waits is passed on.
  b.run("INSERT INTO other VALUES('own', 1)");
  a.fetch(b);
  EXPECT_EQ(a.number("SELECT count(*) FROM other"), 2);
  Peer c(std::string(kPlain) + kOther, kTables);
  c.fetch(b);
  EXPECT_EQ(c.rows("SELECT id, v FROM t ORDER BY id"), "'changed'|'new'\n'kept'|'z'\n");
  refuses = false;
  // The next connection on which it works.
  give(1);
  EXPECT_TRUE(b.rejoin(1).fold().ok());
  EXPECT_EQ(b.rows("SELECT id, v FROM t ORDER BY id", 1), "'changed'|'new'\n'kept'|'z'\n");
  EXPECT_EQ(b.number("SELECT count(*) FROM rejoin_out_of_reach", 1), 0);
  b.expect_sound();
}

INSTANTIATE_TEST_SUITE_P(
    Of, AStoredRow,
    ::testing::Values(
        "", "; CREATE TABLE l(x); CREATE TRIGGER g AFTER DELETE ON t BEGIN INSERT INTO l VALUES(OLD.id); END"),
    [](const auto& kind) { return kind.index ? "with_triggers" : "plain"; });

// Symptom: a merge was kept waiting by a generated column that no index reads.
TEST(AGeneratedColumn, ThatNoIndexReadsIsNotComputedOfStoredRows) {
  const std::string plain = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT, w);" + std::string(kOther);
  Peer a(plain, kTables), b(plain + "CREATE INDEX i ON t(w)", kTables);
  a.run("INSERT INTO t VALUES('1', 'no JSON', 1), ('2', 'none', 2)");
  b.fetch(a);
  b.run("ALTER TABLE t ADD COLUMN g AS (json_extract(v, '$.a'))");
  a.run("UPDATE t SET v = '{}' WHERE id = '1'; DELETE FROM t WHERE id = '2'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id, v FROM t"), "'1'|'{}'\n");
  b.expect_sound();
}

// An application may have put its own function in the place of SQLite's.
TEST(AFunctionOfSqlitesName, ThatFailsStopsNothingElse) {
  bool refuses = false;
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v)", {"t"}), b("", {}, "own_lower.db");
  ASSERT_EQ(sqlite3_create_function_v2(b.handle(), "lower", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, &refuses, picky,
                                       nullptr, nullptr, nullptr),
            SQLITE_OK);
  b.run("CREATE TABLE t(id TEXT PRIMARY KEY, v); CREATE INDEX i ON t(lower(v)); CREATE INDEX j ON t(v)");
  b.track("t");
  a.run("INSERT INTO t VALUES('1', 'x'), ('2', 'y')");
  b.fetch(a);
  a.run("DELETE FROM t WHERE id = '1'");
  refuses = true;
  b.fetch(a);
  EXPECT_EQ(b.number("SELECT count(*) FROM t INDEXED BY j WHERE v IN ('x', 'y')"), 2);
  EXPECT_EQ(b.rows("SELECT key FROM rejoin_parked"), "'[\"1\"]'\n");
  refuses = false;
  b.expect_sound(true);
}

// Symptom: the parent of such a row was deleted elsewhere; the row stayed visible for ever, and nothing listed it.
TEST(AStoredRowWithoutItsParent, IsHiddenByAConnectionOnWhichItsIndexWorks) {
  const std::string tables =
      "CREATE TABLE p(id TEXT PRIMARY KEY); CREATE TABLE t(id TEXT PRIMARY KEY, v, p REFERENCES p(id));";
  bool refuses = false;
  Peer a(tables, {"p", "t"}), b("", {}, "without_parent.db");
  for (int connection : {0, 1})
    ASSERT_EQ(sqlite3_create_function_v2(b.handle(connection), "picky", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, &refuses,
                                         picky, nullptr, nullptr, nullptr),
              SQLITE_OK);
  b.run(tables + "CREATE INDEX i ON t(picky(v))");
  b.track("p"), b.track("t");
  a.run("INSERT INTO p VALUES('x')");
  exchange(a, b);
  b.run("INSERT INTO t VALUES('c', 'v', 'x')");
  b.seq();
  for (Peer* p : {&a, &b}) p->clock().advance(1000);
  a.run("DELETE FROM p");
  refuses = true;
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id FROM p"), "");
  EXPECT_EQ(b.rows("SELECT id FROM t"), "'c'\n");  // nobody can take it out
  refuses = false;
  EXPECT_TRUE(b.rejoin(1).fold().ok());
  EXPECT_EQ(b.rows("SELECT id FROM t", 1), "");
  EXPECT_EQ(b.rows("SELECT key FROM rejoin_parked", 1), "'[\"c\"]'\n");
  a.fetch(b);
  EXPECT_EQ(a.rows("SELECT key FROM rejoin_parked"), "'[\"c\"]'\n");
  b.expect_sound(true);
}

// Symptom: with an index on a function, deletions of which a trigger refuses one ended the merge: "abort due to
// ROLLBACK".
TEST(DeletionsThatATriggerRefuses, GoThroughBesideAnIndexOnAFunction) {
  const std::string schema =
      "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT); CREATE INDEX i ON t(json_valid(v));" + std::string(kOther);
  Peer a(schema, kTables), b(schema + "CREATE TRIGGER g AFTER DELETE ON t BEGIN SELECT json(OLD.v); END", kTables);
  a.run("INSERT INTO t VALUES('1', '{}'), ('2', 'no JSON'), ('3', '{}'), ('4', 'none'), ('5', '{}')");
  b.fetch(a);
  a.run("DELETE FROM t WHERE id <> '5'; INSERT INTO other VALUES('o', 1)");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id FROM t"), "'5'\n");
  EXPECT_EQ(b.rows("SELECT id FROM other"), "'o'\n");
  b.expect_sound();
}

// Symptom: the whole merge failed: "string or blob too big".
TEST(AnExpression, ThatMakesTooMuchKeepsItsRowBack) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, w INT, h INT);" + std::string(kOther), kTables),
      b("CREATE TABLE t(id TEXT PRIMARY KEY, w INT, h INT); CREATE INDEX i ON t(hex(zeroblob(w * h)));" +
            std::string(kOther),
        kTables);
  a.run("INSERT INTO t VALUES('large', 1000000, 1000000), ('small', 1, 1); INSERT INTO other VALUES('o', 1)");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id FROM t"), "'small'\n");
  EXPECT_EQ(b.rows("SELECT id FROM other"), "'o'\n");
  EXPECT_EQ(b.rows("SELECT key FROM rejoin_parked"), "'[\"large\"]'\n");
  b.expect_sound(true);
}

}  // namespace
}  // namespace rejoin::testing
