// P9: whatever the application's triggers refuse, ignore, roll back or can't do here, a merge ends, the other rows
// arrive, nothing is damaged, and without the trigger all is as everywhere.
#include <gtest/gtest.h>

#include "sqlite/api.h"
#include "tests/support/fault_story.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

const std::string kSchema =
    "CREATE TABLE parents(id TEXT PRIMARY KEY); CREATE TABLE other(id TEXT PRIMARY KEY, v);"
    "CREATE TABLE t(id TEXT PRIMARY KEY, v, u UNIQUE, p TEXT REFERENCES parents)";
const std::vector<std::string> kTracked{"parents", "other", "t"};

struct Refusal {
  std::string when, operation, does;
};
std::ostream& operator<<(std::ostream& out, const Refusal& r) {
  return out << r.when << ' ' << r.operation << ' ' << r.does;
}

std::vector<Refusal> refusals() {
  std::vector<Refusal> out;
  for (const char* when : {"BEFORE", "AFTER"})
    for (const char* operation : {"INSERT", "UPDATE", "DELETE"})
      for (const char* does : {"SELECT RAISE(ABORT, 'no')", "SELECT RAISE(FAIL, 'no')", "SELECT RAISE(ROLLBACK, 'no')",
                               "SELECT RAISE(IGNORE)", "SELECT function_of_the_application()",
                               "INSERT INTO gone VALUES(1)", "SELECT json('{')"})
        out.push_back({when, operation, does});
  return out;
}

class RefusingTriggers : public ::testing::TestWithParam<Refusal> {
 protected:
  RefusingTriggers() : a(kSchema, kTracked), b(kSchema, kTracked) {
    a.run("INSERT INTO t(id, v) VALUES('1', 1), ('2', 1), ('3', 1); INSERT INTO other VALUES('o', 1)");
    exchange(a, b);
  }
  void create_trigger() {
    const auto& [when, operation, does] = GetParam();
    const std::string row = operation == "DELETE" ? "OLD" : "NEW";
    b.run("CREATE TRIGGER refuses " + when + " " + operation + " ON t WHEN " + row + ".id <> '3' BEGIN " + does +
          "; END");
  }
  // What refuses no insert and no deletion lets everything else through, too.
  void expect_all_goes_on() {
    b.expect_sound(true);
    a.run("UPDATE other SET v = v + 1; UPDATE t SET v = 7 WHERE id = '3'");
    exchange(a, b);
    EXPECT_EQ(b.rows("SELECT v FROM other"), a.rows("SELECT v FROM other"));
    if (GetParam().does.find("json") != std::string::npos || GetParam().does.find("RAISE") != std::string::npos) {
      EXPECT_EQ(b.rows("SELECT v FROM t WHERE id = '3'"), "7\n");
    }
    b.expect_sound(true);
    b.run("DROP TRIGGER refuses");
    a.run("UPDATE t SET v = 8 WHERE id = '3'");
    exchange(a, b), exchange(a, b);
    EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), a.rows("SELECT * FROM t ORDER BY id"));
    EXPECT_EQ(b.rows("SELECT table_name, key FROM rejoin_parked"), a.rows("SELECT table_name, key FROM rejoin_parked"));
    a.expect_sound(true), b.expect_sound(true);
  }

  Peer a, b;
};

TEST_P(RefusingTriggers, OfAMergedWriteBlockNothing) {
  create_trigger();
  a.run(
      "INSERT INTO t(id, v) VALUES('4', 1), ('5', 1); UPDATE t SET v = 2 WHERE id = '1'; DELETE FROM t WHERE id = '2'");
  exchange(a, b);
  EXPECT_EQ(b.number("SELECT count(*) FROM t WHERE id = '2'"), 0) << "a deletion that everybody has";
  a.run("UPDATE t SET v = v + 1; DELETE FROM t WHERE id IN ('1', '4')");
  exchange(a, b);
  EXPECT_EQ(b.number("SELECT count(*) FROM t WHERE id IN ('1', '2', '4')"), 0);
  expect_all_goes_on();
}

// What was shown must go: another replica's row came to the UNIQUE value first.
TEST_P(RefusingTriggers, OfARowThatMustBeHiddenBlockNothing) {
  a.run("INSERT INTO t(id, u) VALUES('first', 'x')");
  b.clock().advance(1000);
  b.run("INSERT INTO t(id, u) VALUES('second', 'x')");
  create_trigger();
  b.fetch(a);
  EXPECT_EQ(b.number("SELECT count(*) FROM t WHERE id = 'second'"), 0);
  expect_all_goes_on();
}

// A row without its parent, which a program wrote with foreign keys off.
TEST_P(RefusingTriggers, OfARowThatTheFoldHidesBlockNothing) {
  b.run("PRAGMA foreign_keys = OFF; INSERT INTO t(id, p) VALUES('orphan', 'nobody')");
  create_trigger();
  EXPECT_FALSE(b.changeset().empty());
  EXPECT_EQ(b.number("SELECT count(*) FROM t WHERE id = 'orphan'"), 0);
  expect_all_goes_on();
}

constexpr const char* kIndex =
    "CREATE TABLE ids(id); CREATE TRIGGER of_new AFTER INSERT ON t BEGIN INSERT INTO ids VALUES(NEW.id); END;"
    "CREATE TRIGGER of_old AFTER DELETE ON t BEGIN DELETE FROM ids WHERE id = OLD.id; END;";

// Symptom: a guard of inserts kept deletions from an index of the application's.
TEST(TriggersBesideOneThatRollsBack, RunForDeletions) {
  Peer a(kSchema, kTracked), b(kSchema, kTracked);
  b.run(std::string(kIndex) +
        "CREATE TRIGGER guard BEFORE INSERT ON t WHEN NEW.v = 99 BEGIN SELECT RAISE(ROLLBACK, 'no'); END");
  a.run("INSERT INTO t(id) VALUES('1'), ('2')");
  b.fetch(a);
  a.run("DELETE FROM t WHERE id = '1'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id FROM ids"), "'2'\n");
  b.expect_sound();
}

// Symptom: each try of a row that is refused by RAISE(FAIL) left another entry in the application's index. SQLite
// itself keeps the row.
TEST(TriggersBesideOneThatFails, RunOnce) {
  Peer a(kSchema, kTracked), b(kSchema, kTracked);
  b.run(std::string("CREATE TRIGGER guard AFTER INSERT ON t WHEN NEW.v = 99 BEGIN SELECT RAISE(FAIL, 'no'); END;") +
        kIndex + "CREATE TRIGGER guard_update AFTER UPDATE ON t WHEN NEW.v = 98 BEGIN SELECT RAISE(FAIL, 'no'); END");
  a.run("INSERT INTO t(id, v) VALUES('1', 99), ('2', 1)");
  b.fetch(a);
  for (int i = 0; i < 3; ++i) {
    a.run("UPDATE t SET v = v + 1 WHERE id = '2'");
    b.fetch(a);
  }
  a.run("UPDATE t SET v = 98");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id, v FROM t"), "'1'|98\n'2'|98\n");
  EXPECT_LE(b.number("SELECT max(n) FROM (SELECT count(*) AS n FROM ids GROUP BY id)"), 1);
  b.expect_sound();
}

// Symptom: what a trigger had written before it refused a row stayed, once more for each merge that tried the row.
TEST(TriggersThatWriteAndRefuse, LeaveNothing) {
  for (const char* how : {"RAISE(FAIL, 'no')", "RAISE(IGNORE)", "RAISE(ABORT, 'no')"}) {
    for (const char* nested : {"", "UPDATE other SET v = 'nested';"}) {
      Peer a(kSchema, kTracked), b(kSchema, kTracked);
      const std::string refuse = std::string("INSERT INTO tried VALUES(1); ") + nested + " SELECT " + how + "; END;";
      b.run("CREATE TABLE tried(n); CREATE TRIGGER on_insert BEFORE INSERT ON t WHEN NEW.v >= 98 BEGIN " + refuse +
            "CREATE TRIGGER on_update BEFORE UPDATE ON t WHEN NEW.v = 98 BEGIN " + refuse +
            "CREATE TRIGGER on_delete BEFORE DELETE ON t WHEN OLD.v = 97 BEGIN " + refuse + std::string(kIndex));
      a.run("INSERT INTO other VALUES('o', 1); INSERT INTO t(id, v) VALUES('1', 1), ('2', 99), ('3', 1), ('4', 97)");
      b.fetch(a);
      for (int i = 0; i < 3; ++i) {
        a.run("INSERT INTO t(id, v) VALUES('r" + std::to_string(i) + "', 1)");
        b.fetch(a);
      }
      a.run("UPDATE t SET v = 98 WHERE id = '3'; DELETE FROM t WHERE id = '4'; UPDATE t SET v = 2 WHERE id = '1'");
      b.fetch(a);
      EXPECT_EQ(b.rows("SELECT id, v FROM t"), "'1'|2\n'r0'|1\n'r1'|1\n'r2'|1\n") << how;
      EXPECT_EQ(b.number("SELECT count(*) FROM tried"), 0) << how << nested;
      EXPECT_EQ(b.rows("SELECT v FROM other"), "1\n");
      EXPECT_EQ(b.number("SELECT max(n) FROM (SELECT count(*) AS n FROM ids GROUP BY id)"), 1) << how;
      b.expect_sound(true);
      b.run("DROP TRIGGER on_insert; DROP TRIGGER on_update; DROP TRIGGER on_delete");
      a.run("UPDATE other SET v = 2; UPDATE t SET u = id");
      exchange(a, b), exchange(a, b);
      EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), a.rows("SELECT * FROM t ORDER BY id")) << how;
      a.expect_sound(), b.expect_sound();
    }
  }
}

// Taking back what the trigger wrote would end the query, too.
TEST(TriggersThatWriteAndRefuse, DoNotEndAQueryThatMerges) {
  const std::string schema =
      "CREATE TABLE o(id TEXT PRIMARY KEY, v); CREATE TABLE t(id TEXT PRIMARY KEY, v);"
      "SELECT rejoin_track('t'), rejoin_track('o');";
  sqlite3* a = open_with_rejoin(":memory:");
  sqlite3* b = open_with_rejoin(":memory:");
  ASSERT_EQ(run_sql(a, schema), SQLITE_OK);
  ASSERT_EQ(run_sql(b, schema + "CREATE TABLE inbox(frame); CREATE TABLE tried(n); CREATE TRIGGER g BEFORE INSERT ON t "
                                "WHEN NEW.v = 99 BEGIN INSERT INTO tried VALUES(1); UPDATE o SET v = 0; SELECT "
                                "RAISE(FAIL, 'no'); END"),
            SQLITE_OK);
  for (const char* id : {"1", "2", "3"}) {
    ASSERT_EQ(run_sql(a, std::string("INSERT INTO t VALUES('") + id + "', 99), ('x" + id + "', 1)"), SQLITE_OK);
    const std::string frame = text_of(a, "SELECT hex(rejoin_changeset(0))");
    ASSERT_EQ(run_sql(b, "INSERT INTO inbox VALUES(x'" + frame + "')"), SQLITE_OK);
  }
  EXPECT_EQ(run_sql(b, "SELECT rejoin_apply(frame) FROM inbox"), SQLITE_OK) << sqlite3_errmsg(b);
  EXPECT_EQ(text_of(b, "SELECT group_concat(id) FROM t"), "x1,x2,x3");
  expect_whole(b, "merged by a query");
  sqlite3_close(a), sqlite3_close(b);
}

// Symptom: SQLite runs TEMP triggers also where triggers are switched off, and every merge ended with "merge again".
TEST(TemporaryTriggersThatRollBack, BlockNothing) {
  for (const std::string when : {"BEFORE", "AFTER"})
    for (const std::string operation : {"INSERT", "UPDATE", "DELETE"}) {
      Peer a(kSchema, kTracked), b(kSchema, kTracked);
      a.run("INSERT INTO t(id, v, u) VALUES('1', 1, 'x'), ('2', 1, 'y')");
      b.fetch(a);
      const std::string create =
          "CREATE TEMP TRIGGER guard " + when + " " + operation + " ON t BEGIN SELECT RAISE(ROLLBACK, 'no'); END";
      b.run(std::string(kIndex) + "CREATE TEMP TRIGGER beside AFTER UPDATE ON other BEGIN SELECT 1; END;" + create);
      const std::string there = b.rows("SELECT name, sql FROM sqlite_temp_schema ORDER BY name");
      a.run(
          "DELETE FROM t WHERE id = '1'; INSERT INTO t(id, v, u) VALUES('3', 1, 'x'); UPDATE t SET v = 2 WHERE id = "
          "'2'; INSERT INTO other VALUES('o', 1)");
      const std::string which = when + " " + operation;
      for (int i = 0; i < 3; ++i) {
        b.fetch(a);
        EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), a.rows("SELECT * FROM t ORDER BY id")) << which;
        EXPECT_EQ(b.rows("SELECT * FROM other"), a.rows("SELECT * FROM other")) << which;
        EXPECT_EQ(b.rows("SELECT name, sql FROM sqlite_temp_schema ORDER BY name"), there) << which;
        a.run(
            "UPDATE t SET v = v + 1, u = u || 'x'; DELETE FROM t WHERE id = '2'; INSERT INTO t(id) VALUES('4') ON "
            "CONFLICT DO NOTHING; UPDATE other SET v = v + 1");
      }
      EXPECT_NE(b.attempt("INSERT INTO t(id) VALUES('own'); UPDATE t SET v = 0; DELETE FROM t"), SQLITE_OK) << which;
      b.expect_sound();
    }
}

// SQLite runs them even where triggers are switched off.
TEST(TemporaryTriggersThatRefuseADeletion, BlockNothing) {
  for (const char* does :
       {"RAISE(ABORT, 'no')", "RAISE(FAIL, 'no')", "RAISE(ROLLBACK, 'no')", "RAISE(IGNORE)", "function_of_nobody()"}) {
    Peer a(kSchema, kTracked), b(kSchema, kTracked);
    a.run("INSERT INTO t(id) VALUES('1'), ('2')");
    b.fetch(a);
    b.run(std::string("CREATE TEMP TRIGGER \"never ever\" BEFORE DELETE ON t BEGIN SELECT ") + does + "; END");
    a.run("DELETE FROM t WHERE id = '1'; UPDATE t SET v = 5");
    b.fetch(a);
    EXPECT_EQ(b.rows("SELECT id, v FROM t"), "'2'|5\n") << does;
    EXPECT_NE(b.rows("SELECT sql FROM sqlite_temp_schema").find(does), std::string::npos) << "it is still there";
    b.run("DROP TRIGGER \"never ever\"");
    b.expect_sound();
  }
}

// Symptom: rejoin_status() in a transaction that made room for a hidden row ended that transaction.
TEST(TriggersThatRollBack, EndNoTransactionThatOnlyAsked) {
  Peer a(kSchema, kTracked), b(kSchema, kTracked);
  b.run("INSERT INTO t(id, u) VALUES('1', 'x')");
  b.seq();
  a.clock().advance(1000), b.clock().advance(1000);
  a.run("INSERT INTO t(id, u) VALUES('2', 'x')");
  b.fetch(a);
  b.run(
      "CREATE TABLE l(x); CREATE TRIGGER g BEFORE INSERT ON t BEGIN INSERT INTO l VALUES(NEW.id); END; CREATE TRIGGER "
      "h "
      "AFTER INSERT ON l BEGIN SELECT RAISE(ROLLBACK, 'no') WHERE NEW.x = '2'; END");
  EXPECT_TRUE(b.rejoin().tables().ok());
  b.run("BEGIN; INSERT INTO other VALUES('mine', 1); DELETE FROM t WHERE id = '1'");
  EXPECT_TRUE(b.rejoin().tables().ok());
  EXPECT_FALSE(sqlite3_get_autocommit(b.handle()));
  b.run("COMMIT");
  EXPECT_EQ(b.rows("SELECT id FROM other ORDER BY id"), "'mine'\n");
  // What a trigger rolls back is done without it.
  EXPECT_TRUE(b.rejoin().tables().ok());
  EXPECT_EQ(b.rows("SELECT id FROM t"), "'2'\n");
  b.expect_sound();
}

// Symptom: when that connection closed after its COMMIT, a row without its parent stayed visible for ever.
TEST(TriggersThatRollBack, KeepNoRowVisibleForGood) {
  Peer a(kSchema, kTracked), b("", {}, "rolls_back.db");
  b.run("PRAGMA foreign_keys=OFF; " + kSchema);
  for (const std::string& table : kTracked) b.track(table);
  b.run("INSERT INTO parents VALUES('p'); INSERT INTO t(id, p) VALUES('1', 'p')");
  exchange(a, b);
  b.run("CREATE TRIGGER g AFTER DELETE ON t BEGIN SELECT RAISE(ROLLBACK, 'no') WHERE OLD.v = 'never'; END");
  EXPECT_TRUE(b.rejoin().tables().ok());
  b.run("BEGIN; DELETE FROM parents");
  EXPECT_TRUE(b.rejoin().tables().ok());
  EXPECT_EQ(b.rows("SELECT id FROM t"), "'1'\n");
  b.run("COMMIT");
  EXPECT_TRUE(b.rejoin(1).tables().ok());  // another connection
  EXPECT_EQ(b.rows("SELECT id FROM t", 1), "");
  a.fetch(b);
  EXPECT_EQ(a.rows("SELECT id FROM t"), "");
  b.expect_sound(true);
}

// The command line merged; the application comes later.
TEST(TriggersThatNeedTheApplication, ShowTheirRowsOnceItsFunctionsAreThere) {
  Peer a(kSchema, kTracked), b(kSchema +
                                   "; CREATE TABLE seen(n); CREATE TRIGGER look AFTER INSERT ON t BEGIN INSERT "
                                   "INTO seen VALUES(function_of_the_application()); END",
                               kTracked);
  a.run("INSERT INTO t(id, v) VALUES('1', 1)");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t"), "");
  EXPECT_EQ(b.rows("SELECT key, reason FROM rejoin_parked"),
            "'[\"1\"]'|'a trigger of the application's does not work here: no such function: "
            "function_of_the_application'\n");
  const auto one = [](sqlite3_context* c, int, sqlite3_value**) { sqlite3_result_int(c, 1); };
  ASSERT_EQ(sqlite3_create_function_v2(b.handle(1), "function_of_the_application", 0, SQLITE_UTF8, nullptr, one,
                                       nullptr, nullptr, nullptr),
            SQLITE_OK);
  EXPECT_TRUE(b.rejoin(1).fold().ok());
  EXPECT_EQ(b.rows("SELECT id FROM t", 1), "'1'\n");
  EXPECT_EQ(b.rows("SELECT n FROM seen", 1), "1\n");
  b.expect_sound();
}

INSTANTIATE_TEST_SUITE_P(Everywhere, RefusingTriggers, ::testing::ValuesIn(refusals()), [](const auto& of) {
  std::string name = of.param.when + "_" + of.param.operation + "_" + of.param.does;
  std::erase_if(name, [](char c) { return c != '_' && !std::isalnum(static_cast<unsigned char>(c)); });
  return name;
});

}  // namespace
}  // namespace rejoin::testing
