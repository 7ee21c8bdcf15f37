// What comes under the key that a table had before waits in rejoin_parked no longer than until it has come with the new
// key, and coming once more it makes no news.
#include <gtest/gtest.h>

#include "sqlite/api.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kWaiting = "SELECT key FROM rejoin_parked ORDER BY key";

constexpr const char* kWiden =
    "CREATE TABLE fresh(owner TEXT NOT NULL DEFAULT 'me', id TEXT NOT NULL, title TEXT, n INTEGER DEFAULT 5,"
    "PRIMARY KEY(owner, id)); INSERT INTO fresh(id, title, n) SELECT * FROM todos; DROP TABLE todos;"
    "ALTER TABLE fresh RENAME TO todos";
constexpr const char* kReplace =
    "CREATE TABLE fresh(code TEXT PRIMARY KEY NOT NULL, id TEXT, title TEXT, n INTEGER DEFAULT 5);"
    "INSERT INTO fresh SELECT 'c' || id, id, title, n FROM todos; DROP TABLE todos;"
    "ALTER TABLE fresh RENAME TO todos";

// The former key is a part of the new one, or its column an ordinary one now; and that gets another name as well.
struct Story {
  const char* name;
  const char* rebuild;
  const char* id;  // what the column is called at last
};
const Story kStories[] = {{"widened", kWiden, "id"},
                          {"replaced", kReplace, "id"},
                          {"widenedAndRenamed", kWiden, "uid"},
                          {"replacedAndRenamed", kReplace, "uid"}};

class FormerKey : public ::testing::TestWithParam<Story> {
 protected:
  FormerKey()
      : a("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, n INTEGER DEFAULT 5)", {"todos"}),
        b("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, n INTEGER DEFAULT 5)", {"todos"}) {
    a.run("INSERT INTO todos VALUES('1', 'milk', 1), ('2', 'bread', 2), ('3', 'salt', 3)");
    b.fetch(a);
    later();
  }
  void later() {
    a.clock().advance(1000);
    b.clock().advance(1000);
  }
  void rekey(Peer& p, const std::string& rebuild = GetParam().rebuild) {
    Status done = p.rejoin().alter_begin("todos");
    ASSERT_TRUE(done.ok()) << done.error().message;
    p.run(rebuild);
    done = p.rejoin().alter_commit("todos");
    ASSERT_TRUE(done.ok()) << done.error().message;
    if (now("@") != "id") {
      done = p.rejoin().alter(now("ALTER TABLE todos RENAME COLUMN id TO @"));
      ASSERT_TRUE(done.ok()) << done.error().message;
    }
    later();
  }
  // Coming again it changes nothing, waits for nothing and is passed on to nobody.
  void comes_again(Peer& p, const Bytes& frame) {
    const std::string before = p.rows(kWaiting);
    const int64_t told = p.seq();
    p.apply(frame);
    const int64_t seq = p.seq();
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(p.rows(kWaiting), before);
      EXPECT_EQ(p.seq(), seq);
      EXPECT_EQ(p.changeset(told), Bytes());
      p.apply(frame);
    }
  }
  // SQL with the former key's column for @.
  static std::string now(std::string sql) {
    for (size_t at; (at = sql.find('@')) != std::string::npos;) sql.replace(at, 1, GetParam().id);
    return sql;
  }
  Peer a, b;
};

TEST_P(FormerKey, WhatCameUnderItWaitedForEverWhenBothHadTheNewOne) {
  rekey(a);
  a.run(now("UPDATE todos SET title = 'rye' WHERE @ = '2'"));
  b.run("UPDATE todos SET title = 'oat milk' WHERE id = '1'; INSERT INTO todos VALUES('4', 'four', 4)");
  const Bytes written = b.changeset();
  exchange(a, b);
  // What b has not changed says nothing that a lacks.
  EXPECT_EQ(a.rows(kWaiting), "'[\"1\"]'\n'[\"4\"]'\n");
  comes_again(a, written);
  later();
  rekey(b);
  for (int i = 0; i < 2; ++i) {
    b.fetch(a);  // which passes on what waits there
    a.fetch(b);
  }
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows(now("SELECT @, title FROM todos ORDER BY 1")),
              "'1'|'oat milk'\n'2'|'rye'\n'3'|'salt'\n'4'|'four'\n");
    EXPECT_EQ(p->rows(kWaiting), "");
    p->expect_sound();
    comes_again(*p, written);
  }
}

TEST_P(FormerKey, WhatThisFileHasOverwrittenItselfLeavesAtACompaction) {
  rekey(a);
  b.run("UPDATE todos SET title = 'oat milk' WHERE id = '1'");
  const Bytes written = b.changeset();
  a.fetch(b);
  EXPECT_EQ(a.rows(kWaiting), "'[\"1\"]'\n");
  later();
  a.run(now("UPDATE todos SET title = 'cream' WHERE @ = '1'"));
  auto removed = a.rejoin().compact();
  ASSERT_TRUE(removed.ok()) << removed.error().message;
  EXPECT_EQ(a.rows(kWaiting), "");
  comes_again(a, written);
  a.expect_sound();
}

// It is passed on by the replica with the new key, where there is nothing to delete.
TEST_P(FormerKey, ADeletionOfARowThatIsNotHereReachesOthersWithTheFormerKey) {
  Peer c("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, n INTEGER DEFAULT 5)", {"todos"});
  rekey(a);
  c.clock().advance(5000);
  b.run("INSERT INTO todos(id) VALUES('5')");
  c.fetch(b);
  later();
  b.run("DELETE FROM todos WHERE id = '5'");
  a.fetch(b);
  ASSERT_TRUE(a.rejoin().compact().ok());
  EXPECT_EQ(a.rows(kWaiting), "'[\"5\"]'\n");
  comes_again(a, b.changeset());
  c.fetch(a);
  EXPECT_EQ(c.rows("SELECT id FROM todos ORDER BY id"), "'1'\n'2'\n'3'\n");
}

TEST_P(FormerKey, AColumnThatTheRebuildLeavesOutKeepsNothingWaiting) {
  std::string rebuild = GetParam().rebuild;
  for (const char* cut : {", n INTEGER DEFAULT 5", ", n"})
    for (size_t at; (at = rebuild.find(cut)) != std::string::npos;) rebuild.erase(at, std::string(cut).size());
  for (const char* all : {"SELECT * FROM todos"})
    if (const size_t at = rebuild.find(all); at != std::string::npos)
      rebuild.replace(at, std::string(all).size(), "SELECT id, title FROM todos");
  b.run("UPDATE todos SET n = 7, title = 'oat milk' WHERE id = '1'");
  const Bytes written = b.changeset();
  for (Peer* p : {&a, &b}) rekey(*p, rebuild);
  a.apply(written);
  EXPECT_EQ(a.rows(kWaiting), "'[\"1\"]'\n");
  exchange(a, b);
  EXPECT_EQ(a.rows(kWaiting), "");
  EXPECT_EQ(a.rows(now("SELECT title FROM todos WHERE @ = '1'")), "'oat milk'\n");
}

// Keys of two kinds may have the same bytes.
TEST(FormerKeys, WhatWaitsUnderOneIsNotForgottenWithADeletedRowOfTheNewOne) {
  const char* schema = "CREATE TABLE t(a TEXT NOT NULL, b TEXT NOT NULL, v, PRIMARY KEY(a))";
  Peer x(schema, {"t"}), y(schema, {"t"});
  x.run("INSERT INTO t VALUES('1', '2', 'x'), ('2', '1', 'x')");
  y.fetch(x);
  for (Peer* p : {&x, &y}) p->clock().advance(1000);
  y.run("UPDATE t SET v = 'edited' WHERE a = '1'");
  ASSERT_TRUE(x.rejoin().alter_begin("t").ok());
  x.run(
      "CREATE TABLE fresh(a TEXT NOT NULL, b TEXT NOT NULL, v, PRIMARY KEY(b)); INSERT INTO fresh SELECT * FROM t;"
      "DROP TABLE t; ALTER TABLE fresh RENAME TO t");
  ASSERT_TRUE(x.rejoin().alter_commit("t").ok());
  x.fetch(y);
  EXPECT_EQ(x.rows(kWaiting), "'[\"1\"]'\n");
  x.clock().advance(1000);
  x.run("DELETE FROM t WHERE b = '1'");
  x.clock().advance(int64_t{40} * 24 * 3600 * 1000);
  ASSERT_TRUE(x.rejoin().compact(7).ok());
  EXPECT_EQ(x.number("SELECT count(*) FROM t__rejoin"), 1);
  EXPECT_EQ(x.rows(kWaiting), "'[\"1\"]'\n");
}

INSTANTIATE_TEST_SUITE_P(Keys, FormerKey, ::testing::ValuesIn(kStories),
                         [](const auto& story) { return std::string(story.param.name); });

}  // namespace
}  // namespace rejoin::testing
