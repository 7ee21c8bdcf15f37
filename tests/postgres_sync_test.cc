// Devices and an ordinary PostgreSQL database converge, whoever writes: devices offline, or others with plain SQL.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kTodosPg =
    "CREATE TABLE todos(id uuid PRIMARY KEY, title text, done boolean NOT NULL DEFAULT false, priority integer)";
const std::string kTodos =
    "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done BOOLEAN DEFAULT 0, priority INTEGER)";
const std::string kAll = "SELECT * FROM todos ORDER BY id";
constexpr const char* kA = "00000000-0000-7000-8000-00000000000a";
constexpr const char* kB = "00000000-0000-7000-8000-00000000000b";

std::string insert(const std::string& id, const std::string& title, int done, int priority) {
  return "INSERT INTO todos VALUES('" + id + "', '" + title + "', " + (done ? "true" : "false") + ", " +
         std::to_string(priority) + ");";
}

class PostgresSync : public ::testing::Test {
 protected:
  PostgresSync() : world(kTodosPg, {"public.todos"}), a("a", kTodos, {"todos"}), b("b", kTodos, {"todos"}) {}
  void settle() {
    for (int i = 0; i < 2; ++i) world.sync(a), world.sync(b);
  }
  // Devices show integers where PostgreSQL has booleans.
  void expect_same() {
    const std::string truth = world.sql.rows("SELECT id, title, done::int, priority FROM todos ORDER BY id");
    auto plain = [](Peer& p) {
      std::string out =
          p.rows("SELECT id, coalesce(title, 'null'), done, coalesce(priority, 'null') FROM todos ORDER BY id");
      std::erase(out, '\'');
      return out;
    };
    EXPECT_EQ(difference(plain(a.peer), truth), "");
    EXPECT_EQ(difference(plain(b.peer), truth), "");
    a.peer.expect_sound(), b.peer.expect_sound();
    world.expect_sound();
  }
  PostgresWorld world;
  LoopbackDevice a, b;
};

TEST_F(PostgresSync, ARowOfADeviceReachesPostgresAndAnotherDevice) {
  a.peer.run(insert(kA, "milk", 0, 1));
  world.sync(a);
  EXPECT_EQ(world.sql.rows("SELECT * FROM todos"), std::string(kA) + "|milk|false|1\n");
  world.sync(b);
  expect_same();
  EXPECT_EQ(world.sync(a).rows_pulled, 0u);
}

TEST_F(PostgresSync, ADirectUpdateReachesEveryDevice) {
  a.peer.run(insert(kA, "milk", 0, 1));
  settle();
  world.sql.run("UPDATE todos SET title = 'oat milk' WHERE priority = 1");
  settle();
  EXPECT_EQ(b.peer.rows("SELECT title FROM todos"), "'oat milk'\n");
  expect_same();
}

TEST_F(PostgresSync, DirectInsertsDeletesAndKeyChangesArrive) {
  world.sql.run(insert(kA, "one", 0, 1) + insert(kB, "two", 1, 2));
  settle();
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM todos"), 2);
  world.sql.run(std::string("DELETE FROM todos WHERE id = '") + kA + "'");
  world.sql.run("UPDATE todos SET id = '00000000-0000-7000-8000-00000000000c'");
  settle();
  EXPECT_EQ(a.peer.rows("SELECT id, title FROM todos"), "'00000000-0000-7000-8000-00000000000c'|'two'\n");
  expect_same();
}

TEST_F(PostgresSync, DifferentColumnsEditedAtTheSameTimeBothSurvive) {
  a.peer.run(insert(kA, "milk", 0, 1));
  settle();
  a.peer.run("UPDATE todos SET title = 'by a'");
  b.peer.run("UPDATE todos SET priority = 9");
  world.sql.run("UPDATE todos SET done = true");
  settle();
  EXPECT_EQ(world.sql.rows("SELECT title, done, priority FROM todos"), "by a|true|9\n");
  expect_same();
}

TEST_F(PostgresSync, TheLaterOfTwoWritesToACellWins) {
  a.peer.run(insert(kA, "milk", 0, 1));
  settle();
  const int64_t now = system_clock().now_ms();
  a.peer.clock().set(now - 60'000);
  a.peer.run("UPDATE todos SET title = 'earlier, by a device'");
  a.peer.seq();
  (void)a.peer.rejoin().fold();
  world.sql.run("UPDATE todos SET title = 'later, by SQL'");
  settle();
  EXPECT_EQ(world.sql.rows("SELECT title FROM todos"), "later, by SQL\n");
  world.sql.run("UPDATE todos SET title = 'by SQL again'");
  b.peer.clock().set(system_clock().now_ms() + 2'000);
  b.peer.run("UPDATE todos SET title = 'still later, by a device'");
  (void)b.peer.rejoin().fold();
  settle();
  EXPECT_EQ(world.sql.rows("SELECT title FROM todos"), "still later, by a device\n");
  expect_same();
}

TEST_F(PostgresSync, ADeleteAndARestoreTravel) {
  a.peer.run(insert(kA, "milk", 0, 1));
  settle();
  b.peer.run("DELETE FROM todos");
  settle();
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), 0);
  expect_same();
  a.peer.restore("todos", {sim::Value::text(kA)});
  settle();
  EXPECT_EQ(world.sql.rows("SELECT title FROM todos"), "milk\n");
  expect_same();
}

TEST_F(PostgresSync, RowsFromBeforeTrackingAreIncluded) {
  PostgresWorld old(kTodosPg + ";" + insert(kA, "old", 1, 3));
  EXPECT_EQ(old.track("public.todos").rows, 1);
  EXPECT_EQ(old.track("public.todos").rows, 0);
  LoopbackDevice c("c", kTodos, {"todos"});
  old.sync(c);
  EXPECT_EQ(c.peer.rows(kAll), std::string("'") + kA + "'|'old'|1|3\n");
  c.peer.run("UPDATE todos SET title = 'new'");
  old.sync(c);
  EXPECT_EQ(old.sql.rows("SELECT title FROM todos"), "new\n");
  old.expect_sound();
}

TEST_F(PostgresSync, ManyRowsGoInPagesBothWays) {
  for (LoopbackDevice* d : {&a, &b}) d->options.chunk_bytes = d->options.page_bytes = 16 << 10;
  a.peer.run(
      "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<3000) INSERT INTO todos SELECT "
      "printf('00000000-0000-7000-8000-%012d', i), 'title of row number '||i, i%2, i FROM n");
  world.sql.run(
      "INSERT INTO todos SELECT ('00000000-0000-7000-9000-' || lpad(i::text, 12, '0'))::uuid, 'direct ' || i, true, i "
      "FROM "
      "generate_series(1, 3000) AS i");
  settle();
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), 6000);
  expect_same();
  world.sql.run("UPDATE todos SET priority = priority + 1");
  settle();
  expect_same();
  world.sql.run("TRUNCATE todos");
  settle();
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM todos"), 0);
  expect_same();
}

// The gap that makes engines with sequence numbers lose rows.
TEST_F(PostgresSync, ATransactionThatCommitsLateIsStillDelivered) {
  SqlClient slow(world.url);
  slow.run("BEGIN");
  slow.run(insert(kA, "slow", 0, 1));
  world.sql.run(insert(kB, "fast", 0, 2));
  settle();
  EXPECT_EQ(a.peer.rows("SELECT title FROM todos"), "'fast'\n");
  world.sql.run("UPDATE todos SET priority = 3");
  settle();
  slow.run("COMMIT");
  settle();
  EXPECT_EQ(a.peer.rows("SELECT title FROM todos ORDER BY 1"), "'fast'\n'slow'\n");
  expect_same();
}

TEST_F(PostgresSync, RowsThatPostgresRefusesAreListedAndHoldUpNothingElse) {
  world.sql.run("ALTER TABLE todos ADD CHECK (priority < 100)");
  a.peer.run(insert(kA, "too much", 0, 1000) + insert(kB, "fine", 0, 1));
  world.sync(a);
  EXPECT_EQ(world.sql.rows("SELECT title FROM todos"), "fine\n");
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM rejoin_rejections"), 1);
  EXPECT_NE(a.peer.rows("SELECT reason FROM rejoin_rejections").find("check constraint"), std::string::npos);
  world.sync(b);
  EXPECT_EQ(b.peer.rows("SELECT title FROM todos"), "'fine'\n");
  a.peer.run("UPDATE todos SET priority = 5 WHERE priority = 1000");
  settle();
  expect_same();
}

TEST_F(PostgresSync, WhatTriggersMakeOfARowIsAWriteOfTheServers) {
  world.sql.run(
      "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.title := upper(NEW.title); RETURN NEW; "
      "END "
      "$$; CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON todos FOR EACH ROW EXECUTE FUNCTION shout()");
  world.sql.run("UPDATE rejoin.meta SET catalog = catalog + 1");
  a.peer.run(insert(kA, "milk", 0, 1));
  settle();
  EXPECT_EQ(a.peer.rows("SELECT title FROM todos"), "'MILK'\n");
  expect_same();
}

// Each has a name of its own on devices.
TEST_F(PostgresSync, TablesOfOneNameInTwoSchemas) {
  world.sql.run("CREATE SCHEMA archive; CREATE TABLE archive.todos(id uuid PRIMARY KEY, title text)");
  world.track("archive.todos", "old_todos");
  LoopbackDevice c("c", kTodos + ";CREATE TABLE old_todos(id TEXT PRIMARY KEY, title TEXT)", {"todos", "old_todos"});
  c.peer.run(insert(kA, "new", 0, 1) + "INSERT INTO old_todos VALUES('" + kA + "', 'old')");
  world.sync(c);
  EXPECT_EQ(world.sql.rows("SELECT title FROM public.todos"), "new\n");
  EXPECT_EQ(world.sql.rows("SELECT title FROM archive.todos"), "old\n");
  world.sql.run("UPDATE archive.todos SET title = 'older'; UPDATE public.todos SET title = 'newer'");
  world.sync(c);
  EXPECT_EQ(c.peer.rows("SELECT title FROM todos UNION ALL SELECT title FROM old_todos"), "'newer'\n'older'\n");
  settle();
  EXPECT_EQ(a.peer.rows("SELECT title FROM todos"), "'newer'\n");
  world.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
