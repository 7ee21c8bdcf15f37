// P1, P2, P9: rows that want one UNIQUE value. The older claim has it on every replica, whatever came first there; the
// others wait, listed with their reason, and show by themselves. No row's values end in another's.
#include <gtest/gtest.h>

#include "tests/support/constrained.h"

namespace rejoin::testing {
namespace {

constexpr const char* kUsers = "CREATE TABLE users(id TEXT PRIMARY KEY, mail TEXT UNIQUE, name TEXT)";
constexpr const char* kAll = "SELECT * FROM users ORDER BY id";

TEST(UniqueValues, OfTwoInsertsTheOlderHasTheValue) {
  tell({.schema = kUsers,
        .tracked = {"users"},
        .apart = {{0, "INSERT INTO users VALUES('2', 'e@x', 'older')"},
                  {1, "INSERT INTO users VALUES('1', 'e@x', 'younger')"}},
        .query = kAll,
        .rows = "'2'|'e@x'|'older'\n",
        .later = {{1, "DELETE FROM users WHERE id = '2'"}},
        .later_rows = "'1'|'e@x'|'younger'\n"});
}

TEST(UniqueValues, TheReasonNamesWhoHasTheValue) {
  Replicas all(2, kUsers, {"users"});
  all.at(0, "INSERT INTO users VALUES('2', 'e@x', 'older')");
  all.at(1, "INSERT INTO users VALUES('1', 'e@x', 'younger')");
  all.sync({0, 1});
  all.expect("SELECT table_name, key, reason FROM rejoin_parked",
             "'users'|'[\"1\"]'|'another row, [\"2\"], claimed the same value first (UNIQUE mail)'\n");
}

TEST(UniqueValues, AnOlderClaimThatArrivesLaterTakesTheValueFromTheRowThatIsShown) {
  Replicas all(3, kUsers, {"users"});
  all.at(0, "INSERT INTO users VALUES('a', 'e@x', 'first')");
  all.at(1, "INSERT INTO users VALUES('b', 'e@x', 'second')");
  all[2].fetch(all[1]);
  EXPECT_EQ(all[2].rows(kAll), "'b'|'e@x'|'second'\n");
  const int64_t seq = all[2].seq();
  all[2].fetch(all[0]);
  EXPECT_EQ(all[2].rows(kAll), "'a'|'e@x'|'first'\n");
  EXPECT_EQ(all[2].rows("SELECT key FROM rejoin_parked"), "'[\"b\"]'\n");
  // The hidden row is no write: nothing was stamped, and it is passed on with its own values.
  EXPECT_EQ(all[2].seq(), seq + 1);
  Peer fourth(kUsers, {"users"});
  fourth.fetch(all[2]);
  EXPECT_EQ(fourth.rows(kAll), "'a'|'e@x'|'first'\n");
  fourth.run("DELETE FROM users WHERE id = 'a'");
  ASSERT_TRUE(fourth.rejoin().fold().ok());
  EXPECT_EQ(fourth.rows(kAll), "'b'|'e@x'|'second'\n");
}

TEST(UniqueValues, UntrackingDoesNotDestroyRowsThatWait) {
  const std::string schema = "CREATE TABLE u(id TEXT PRIMARY KEY, k INTEGER UNIQUE)";
  Peer a(schema, {"u"}), b(schema, {"u"});
  a.run("INSERT INTO u VALUES('a1', 1)");
  b.clock().advance(1000);
  b.run("INSERT INTO u VALUES('b1', 1)");
  b.fetch(a);
  ASSERT_EQ(b.rows("SELECT id FROM u"), "'a1'\n");
  const std::string before = b.dump();
  const Status refused = b.rejoin().untrack("u");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::bad_argument);
  EXPECT_NE(refused.error().message.find("\"u\" has 1 row(s) that wait in rejoin_parked"), std::string::npos);
  EXPECT_EQ(b.dump(), before);
  b.run("UPDATE u SET k = 2 WHERE id = 'a1'");
  ASSERT_TRUE(b.rejoin().untrack("u").ok());
  EXPECT_EQ(b.rows("SELECT * FROM u ORDER BY id"), "'a1'|2\n'b1'|1\n");
}

TEST(UniqueValues, AnUpdateIntoATakenValueWaits) {
  tell({.schema = kUsers,
        .tracked = {"users"},
        .before = {"INSERT INTO users VALUES('1', 'a', 'one'), ('2', 'b', 'two')"},
        .apart = {{0, "UPDATE users SET mail = 'c' WHERE id = '1'"}, {1, "UPDATE users SET mail = 'c' WHERE id = '2'"}},
        .query = kAll,
        .rows = "'1'|'c'|'one'\n",
        .later = {{0, "UPDATE users SET mail = 'd' WHERE id = '1'"}},
        .later_rows = "'1'|'d'|'one'\n'2'|'c'|'two'\n"});
}

TEST(UniqueValues, ValuesSwapAndMoveAlongChains) {
  tell({.schema = kUsers,
        .tracked = {"users"},
        .before = {"INSERT INTO users VALUES('1', 'a', 'one'), ('2', 'b', 'two'), ('3', 'c', 'three')"},
        .apart = {{0,
                   "UPDATE users SET mail = NULL WHERE id = '1'; UPDATE users SET mail = 'a' WHERE id = '2';"
                   "UPDATE users SET mail = 'b' WHERE id = '1'"},
                  {1, "UPDATE users SET name = 'drei' WHERE id = '3'"}},
        .query = kAll,
        .rows = "'1'|'b'|'one'\n'2'|'a'|'two'\n'3'|'c'|'drei'\n",
        .later = {{1,
                   "UPDATE users SET mail = 'd' WHERE id = '3'; UPDATE users SET mail = 'c' WHERE id = '1';"
                   "UPDATE users SET mail = 'b' WHERE id = '2'; UPDATE users SET mail = 'a' WHERE id = '3'"}},
        .later_rows = "'1'|'c'|'one'\n'2'|'b'|'two'\n'3'|'a'|'drei'\n"});
}

TEST(UniqueValues, ARowThatIsHiddenItselfKeepsItsClaim) {
  // 'b' claims x after 'a' and y before 'c': it is hidden for x, and so is 'c' for y, wherever and whenever.
  tell({.schema = "CREATE TABLE t(id TEXT PRIMARY KEY, x UNIQUE, y UNIQUE)",
        .tracked = {"t"},
        .apart = {{0, "INSERT INTO t VALUES('a', 1, NULL)"},
                  {1, "INSERT INTO t VALUES('b', 1, 2)"},
                  {2, "INSERT INTO t VALUES('c', NULL, 2)"}},
        .query = "SELECT * FROM t ORDER BY id",
        .rows = "'a'|1|null\n",
        .later = {{2, "DELETE FROM t WHERE id = 'a'"}},
        .later_rows = "'b'|1|2\n"});
}

TEST(UniqueValues, OverSeveralColumnsPartialIndexesExpressionsAndCollations) {
  struct Case {
    const char *index, *one, *two, *shown;
  };
  for (const Case& c : {
           Case{"CREATE UNIQUE INDEX u ON t(v, w)", "'x', 1", "'x', 1", "'x'|1"},
           Case{"CREATE UNIQUE INDEX u ON t(v) WHERE w > 0", "'x', 1", "'x', 2", "'x'|1"},
           Case{"CREATE UNIQUE INDEX u ON t(lower(v))", "'Mail', 1", "'mAIL', 2", "'Mail'|1"},
           Case{"CREATE UNIQUE INDEX u ON t(v COLLATE NOCASE DESC)", "'Mail', 1", "'mAIL', 2", "'Mail'|1"},
           Case{"CREATE UNIQUE INDEX u ON t(v COLLATE RTRIM)", "'x  ', 1", "'x', 2", "'x  '|1"},
           Case{"CREATE UNIQUE INDEX u ON t(v + w)", "1, 3", "2, 2.0", "1|3"},
           Case{"CREATE UNIQUE INDEX u ON t(sum)", "1, 3", "2, 2", "1|3"},
       }) {
    SCOPED_TRACE(c.index);
    tell(
        {.schema = std::string("CREATE TABLE t(id TEXT PRIMARY KEY, v, w, sum AS (v || '-' || w));") +
                   (std::string(c.index).find("(sum)") == std::string::npos
                        ? c.index
                        : "DROP TABLE t; CREATE TABLE t(id TEXT PRIMARY KEY, v, w, sum AS (v + w)); "
                          "CREATE UNIQUE INDEX u ON t(sum)"),
         .tracked = {"t"},
         .apart = {{1, std::string("INSERT INTO t(id, v, w) VALUES('2', ") + c.one + ")"},
                   {0, std::string("INSERT INTO t(id, v, w) VALUES('1', ") + c.two + ")"}},
         .query = "SELECT v, w FROM t ORDER BY id",
         .rows = std::string(c.shown) + "\n",
         .later = {{0, "DELETE FROM t WHERE id = '2'"}, {1, std::string("INSERT INTO t(id, v, w) VALUES('4', 9, -9)")}},
         .later_rows = Peer(std::string("CREATE TABLE x(v, w); INSERT INTO x VALUES(") + c.two + "), (9, -9)")
                           .rows("SELECT v, w FROM x")});
  }
}

TEST(UniqueValues, ValuesOutsideAPartialIndexAndNullsDoNotCompete) {
  tell({.schema = "CREATE TABLE t(id TEXT PRIMARY KEY, v, w); CREATE UNIQUE INDEX u ON t(v) WHERE w > 0",
        .tracked = {"t"},
        .apart = {{0, "INSERT INTO t VALUES('1', 'x', 0), ('2', NULL, 1)"},
                  {1, "INSERT INTO t VALUES('3', 'x', 1), ('4', NULL, 1)"}},
        .query = "SELECT id FROM t ORDER BY id",
        .rows = "'1'\n'2'\n'3'\n'4'\n"});
}

TEST(UniqueValues, AWriteThatTakesAHiddenRowsValueBeforeAnybodyLooked) {
  // 'b' waits for 'a'. Its value is free for a moment, and somebody new takes it; 'b' claimed it earlier.
  Replicas all(2, kUsers, {"users"});
  all.at(0, "INSERT INTO users VALUES('a', 'e@x', 'first')");
  all.at(1, "INSERT INTO users VALUES('b', 'e@x', 'second')");
  all.sync({0, 1});
  all.at(0, "DELETE FROM users WHERE id = 'a'; INSERT INTO users VALUES('c', 'e@x', 'third')");
  all.sync({1, 0});
  all.expect(kAll, "'b'|'e@x'|'second'\n");
  all.expect_sound();
  // The key of a hidden row can be written anew.
  all.at(1, "INSERT INTO users VALUES('c', 'f@x', 'again')");
  all.sync({0, 1});
  all.expect(kAll, "'b'|'e@x'|'second'\n'c'|'f@x'|'again'\n");
  all.expect_sound();
}

TEST(UniqueValues, EditsOfAHiddenRowReachIt) {
  Replicas all(3, kUsers, {"users"});
  all.at(0, "INSERT INTO users VALUES('a', 'e@x', 'first')");
  all.at(1, "INSERT INTO users VALUES('b', 'e@x', 'second')");
  all[2].fetch(all[1]);
  all.at(2, "UPDATE users SET name = 'renamed' WHERE id = 'b'");
  all.at(1, "UPDATE users SET mail = 'own@x' WHERE id = 'b'");
  all.sync({2, 0, 1});
  all.expect(kAll, "'a'|'e@x'|'first'\n'b'|'own@x'|'renamed'\n");
  all.expect("SELECT count(*) FROM rejoin_parked", "0\n");
  all.expect_sound();
}

TEST(UniqueValues, AnIndexThatIsDroppedHidesNothingAnyMore) {
  Replicas all(2, "CREATE TABLE t(id TEXT PRIMARY KEY, v); CREATE UNIQUE INDEX u ON t(v)", {"t"});
  all.at(0, "INSERT INTO t VALUES('a', 1)");
  all.at(1, "INSERT INTO t VALUES('b', 1)");
  all.sync({0, 1});
  all[0].run("DROP INDEX u; UPDATE t SET v = 2");
  ASSERT_TRUE(all[0].rejoin().fold().ok());
  EXPECT_EQ(all[0].rows("SELECT * FROM t ORDER BY id"), "'a'|2\n'b'|1\n");
  all[0].expect_sound();
  // Where it still is, the row waits.
  all[1].run("UPDATE t SET v = 1");
  EXPECT_EQ(all[1].rows("SELECT id FROM t"), "'a'\n");
}

TEST(UniqueValues, ReplaceThatDisplacesAnotherKeyIsADeletionEverywhere) {
  for (const char* recursive : {"OFF", "ON"})
    for (const char* index : {"(mail)", "(lower(mail))", "(mail COLLATE NOCASE)", "(mail) WHERE name IS NOT NULL"}) {
      SCOPED_TRACE(std::string(index) + ", recursive_triggers " + recursive);
      Replicas all(2,
                   "CREATE TABLE users(id TEXT PRIMARY KEY, mail TEXT, name TEXT); CREATE UNIQUE INDEX u ON users" +
                       std::string(index),
                   {"users"});
      for (size_t i = 0; i < 2; ++i) all[i].run(std::string("PRAGMA recursive_triggers = ") + recursive);
      all.at(0, "INSERT INTO users VALUES('1', 'a', 'one'), ('2', 'b', 'two'), ('3', 'c', 'three')");
      all.sync({0, 1});
      all.at(0, "INSERT OR REPLACE INTO users VALUES('4', 'a', 'four')");
      all.at(1, "UPDATE OR REPLACE users SET mail = 'b' WHERE id = '3'");
      all.sync({1, 0});
      all.expect(kAll, "'3'|'b'|'three'\n'4'|'a'|'four'\n");
      all.expect("SELECT count(*) FROM rejoin_parked", "0\n");
      all.expect_sound();
      // What was displaced was deleted with its values.
      all.at(0, "DELETE FROM users");
      all.sync({0, 1});
      EXPECT_TRUE(all[1].restore("users", {sim::Value::text("2")}));
      EXPECT_EQ(all[1].rows(kAll), "'2'|'b'|'two'\n");
    }
}

TEST(UniqueValues, AnIndexComparesByItsOwnCollationNotByTheColumns) {
  // 'A' is no 'a' for the index, although it is for the column.
  tell({.schema = "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT COLLATE NOCASE); CREATE UNIQUE INDEX u ON t(v COLLATE "
                  "BINARY)",
        .tracked = {"t"},
        .apart = {{1, "INSERT INTO t VALUES('m', 'a')"},
                  {0, "INSERT INTO t VALUES('y', 'a')"},
                  {0, "INSERT INTO t VALUES('b', 'A')"}},
        .query = "SELECT * FROM t ORDER BY id",
        .rows = "'b'|'A'\n'm'|'a'\n",
        .later = {{0, "DELETE FROM t WHERE id = 'm'"}},
        .later_rows = "'b'|'A'\n'y'|'a'\n"});
}

}  // namespace
}  // namespace rejoin::testing
