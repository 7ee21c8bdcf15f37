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

}  // namespace
}  // namespace rejoin::testing
