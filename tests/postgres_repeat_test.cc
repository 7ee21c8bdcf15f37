// Over the PostgreSQL store too any message may be lost, repeated or cut, any connection may die, and a database may be
// restored from a backup: everything arrives once.
#include <gtest/gtest.h>

#include <thread>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kPg =
    "CREATE TABLE todos(id text PRIMARY KEY, title text, done integer DEFAULT 0); CREATE TABLE notes(a text, b "
    "integer, body bytea, PRIMARY KEY(a, b))";
const std::string kDevice =
    "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0);"
    "CREATE TABLE notes(a TEXT, b INTEGER, body, PRIMARY KEY(a, b)) WITHOUT ROWID;";
const std::vector<std::string> kTables{"todos", "notes"};

std::string plain(Peer& p, const std::string& sql) {
  std::string out = p.rows(sql);
  std::erase(out, '\'');
  return out;
}

void write(LoopbackDevice& device, const std::string& prefix, int count) {
  const std::string numbers =
      "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<" + std::to_string(count) + ") ";
  device.peer.run(numbers + "INSERT INTO todos SELECT '" + prefix + "'||i, 'title of row number '||i, i%2 FROM n;" +
                  numbers + "INSERT INTO notes SELECT '" + prefix + "', i, zeroblob(i%50) FROM n");
}

class PostgresRepeat : public ::testing::Test {
 protected:
  PostgresRepeat() : world(kPg, {"public.todos", "public.notes"}), a("a", kDevice, kTables), b("b", kDevice, kTables) {}
  void settle(PostgresWorld& at) {
    for (int i = 0; i < 2; ++i) at.sync(a), at.sync(b);
  }
  void expect_same(PostgresWorld& at) {
    for (const auto& [device_sql, sql] :
         {std::pair("SELECT id, title, done FROM todos ORDER BY id", "SELECT id, title, done FROM todos ORDER BY id"),
          std::pair("SELECT a, b, lower(hex(body)) FROM notes ORDER BY a, b",
                    "SELECT a, b, encode(body, 'hex') AS body FROM notes ORDER BY a, b")}) {
      const std::string truth = at.sql.rows(sql);
      EXPECT_EQ(difference(plain(a.peer, device_sql), truth), "");
      EXPECT_EQ(difference(plain(b.peer, device_sql), truth), "");
    }
    a.peer.expect_sound(), b.peer.expect_sound();
    at.expect_sound();
  }
  PostgresWorld world;
  LoopbackDevice a, b;
};

TEST_F(PostgresRepeat, AnyMessageMayBeLostRepeatedCutOrChanged) {
  int made = 0;
  for (const int attempts : {3, 1}) {
    for (const Fault fault : {Fault::lose_request, Fault::lose_response, Fault::repeat_request, Fault::cut_request,
                              Fault::cut_response, Fault::flip_response}) {
      for (uint64_t at = 0; at < 6; ++at) {
        SCOPED_TRACE("fault " + std::to_string(static_cast<int>(fault)) + " at exchange " + std::to_string(at) + ", " +
                     std::to_string(attempts) + " attempts");
        for (LoopbackDevice* device : {&a, &b}) {
          device->options.attempts = attempts;
          device->options.chunk_bytes = device->options.page_bytes = 1200;
        }
        const std::string n = std::to_string(made++);
        write(a, "a" + n + "-", 20);
        write(b, "b" + n + "-", 20);
        world.sql.run("INSERT INTO todos SELECT 's" + n +
                      "-' || i, 'direct', i FROM generate_series(1, 20) AS i; UPDATE todos SET done = done + 1 WHERE "
                      "id LIKE 'b%5'");
        world.sync(b);
        a.fault = [&](uint64_t number) { return number == at ? fault : Fault::none; };
        a.peer.clock().set(system_clock().now_ms());
        const sync::Done cut = a.sync(world.server());
        if (attempts > 1) {
          EXPECT_FALSE(cut.error) << cut.error->message;
        }
        a.fault = nullptr;
        world.sync(a);
        world.sync(b);
        EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), made * 60);
      }
    }
  }
  settle(world);
  expect_same(world);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.staged"), 0);
}

TEST_F(PostgresRepeat, AServerThatDropsHalfOfEverythingOnlyTakesLonger) {
  write(a, "a", 300);
  write(b, "b", 300);
  for (LoopbackDevice* device : {&a, &b}) device->options.chunk_bytes = device->options.page_bytes = 2000;
  SeededRandom dice(42);
  a.fault = b.fault = [&](uint64_t) { return static_cast<Fault>(dice.u64() % 9 < 7 ? dice.u64() % 7 : 0); };
  for (int i = 0; i < 200; ++i) {
    world.server();
    const bool done = !a.sync(world.server()).error && !b.sync(world.server()).error;
    if (done && i > 5) break;
  }
  a.fault = b.fault = nullptr;
  settle(world);
  expect_same(world);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), 600);
}

// What waits for its transaction's end is not shown to anybody, and outlives the node that took it.
TEST_F(PostgresRepeat, AStreamThatIsCutIsTakenUpByAnotherNode) {
  a.options.chunk_bytes = 2000;
  a.options.attempts = 1;
  write(a, "a", 200);
  a.fault = [](uint64_t number) { return number == 5 ? Fault::lose_request : Fault::none; };
  a.peer.clock().set(system_clock().now_ms());
  EXPECT_TRUE(a.sync(world.server("main#1")).error);
  a.fault = nullptr;
  EXPECT_GT(world.sql.number("SELECT count(*) FROM rejoin.staged"), 0);
  world.sync_as(b, "main#2");
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM todos"), world.sql.number("SELECT count(*) FROM todos"));
  world.sync_as(a, "main#2");
  world.sync_as(b, "main#1");
  expect_same(world);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), 200);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.staged"), 0);
}

TEST_F(PostgresRepeat, AClonedFileGetsItsOwnSiteAndLosesNothing) {
  write(a, "a", 5);
  world.sync(a);
  LoopbackDevice clone("a");
  clone.peer.database().copy_from(a.peer.database());
  a.peer.run("INSERT INTO todos VALUES ('by-original', 'x', 0)");
  clone.peer.run("INSERT INTO todos VALUES ('by-clone', 'y', 0)");
  world.sync(a);
  world.sync(clone);
  EXPECT_NE(clone.peer.site(), a.peer.site());
  settle(world);
  expect_same(world);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos WHERE id LIKE 'by-%'"), 2);
}

TEST_F(PostgresRepeat, WhatARestoredBackupHasLostComesBackFromTheDevices) {
  write(a, "a", 50);
  write(b, "b", 50);
  settle(world);
  // A template must have no other connections.
  const std::string url = world.url, name = url.substr(url.find("///") + 3, url.find('?') - url.find("///") - 3);
  SqlClient other(url.substr(0, url.find("///") + 3) + "postgres" + url.substr(url.find('?')));
  other.run("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '" + name + "'");
  other.run("CREATE DATABASE backup_of_it TEMPLATE " + name);
  auto again_world = PostgresWorld::over(url);
  PostgresWorld& again = *again_world;
  write(a, "later-a", 30);
  write(b, "later-b", 30);
  a.peer.run("UPDATE todos SET title = 'changed' WHERE id = 'b3'; DELETE FROM todos WHERE id = 'a4'");
  settle(again);
  expect_same(again);
  const std::string before = again.sql.rows("SELECT * FROM todos ORDER BY id");

  auto restored_world =
      PostgresWorld::over(url.substr(0, url.find("///") + 3) + "backup_of_it" + url.substr(url.find('?')));
  PostgresWorld& restored = *restored_world;
  EXPECT_EQ(restored.sql.number("SELECT count(*) FROM todos"), 100);
  write(b, "after", 3);  // the restored one may have come as far as the lost positions before the others return
  restored.sync(b);
  settle(restored);
  settle(restored);
  expect_same(restored);
  EXPECT_EQ(restored.sql.rows("SELECT * FROM todos WHERE id NOT LIKE 'after%' ORDER BY id"), before);
}

TEST_F(PostgresRepeat, ValuesAboveTheLimitAreRefusedAndHoldUpNothing) {
  world.server().settings.max_value_bytes = 1000;
  world.sync(a);
  a.peer.run("INSERT INTO todos VALUES ('long', hex(zeroblob(2000)), 1), ('short', 'x', 1)");
  settle(world);
  EXPECT_EQ(world.sql.rows("SELECT id, title FROM todos ORDER BY id"), "long|null\nshort|x\n");
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM rejoin_rejections"), 1);
  world.server().settings.max_value_bytes = 10'000;
  settle(world);
  EXPECT_EQ(world.sql.number("SELECT length(title) FROM todos WHERE id = 'long'"), 4000);
  expect_same(world);
}

TEST_F(PostgresRepeat, UnknownTablesAndColumnsAreRefusedUntilTheyAreThere) {
  LoopbackDevice guest("g", kDevice + "CREATE TABLE extra(id TEXT PRIMARY KEY, v TEXT)", {"todos", "notes", "extra"});
  guest.peer.run(
      "ALTER TABLE todos ADD COLUMN prio INTEGER; INSERT INTO todos VALUES ('p', 'with prio', 0, 9); INSERT INTO extra "
      "VALUES ('x', 'y')");
  world.sync(guest);
  settle(world);
  EXPECT_EQ(world.sql.rows("SELECT id, title FROM todos"), "p|with prio\n");
  EXPECT_EQ(guest.peer.number("SELECT count(*) FROM rejoin_rejections"), 2);
  expect_same(world);
  world.sql.run("ALTER TABLE todos ADD COLUMN prio integer; CREATE TABLE extra(id text PRIMARY KEY, v text)");
  world.track("public.todos");
  world.track("public.extra");
  for (int i = 0; i < 2; ++i) world.sync(guest);
  EXPECT_EQ(world.sql.rows("SELECT id, prio FROM todos"), "p|9\n");
  EXPECT_EQ(world.sql.rows("SELECT * FROM extra"), "x|y\n");
  EXPECT_EQ(guest.peer.number("SELECT count(*) FROM rejoin_rejections"), 0)
      << guest.peer.rows("SELECT reason FROM rejoin_rejections");
}

TEST_F(PostgresRepeat, CellsOfOtherSitesNeedTheRelayClaim) {
  write(a, "a", 4);
  b.peer.apply(a.peer.changeset());
  world.sync(b);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), 0);
  LoopbackDevice relay("r", kDevice, kTables);
  relay.caller.may_relay = true;
  relay.peer.apply(a.peer.changeset());
  world.sync(relay);  // learns that it may
  world.sync(relay);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), 4);
  settle(world);
  expect_same(world);
}

TEST_F(PostgresRepeat, AConnectionThatIsKilledLeavesNothingHalfDone) {
  auto db = postgres::Connection::open(world.url);
  ASSERT_TRUE(db.ok());
  postgres::Tenant tenant("main", system_clock(), system_random());
  LoopbackServer victim(postgres::make_tenant_store(**db, tenant, false));
  victim.peer().clock().set(system_clock().now_ms());
  a.options.attempts = 1;
  a.peer.clock().set(system_clock().now_ms());
  ASSERT_FALSE(a.sync(victim).error);
  auto pid = (*db)->query("SELECT pg_backend_pid()::int8");
  ASSERT_TRUE(pid.ok());
  write(a, "a", 10);
  // In the middle: the push waits for a row that another holds.
  SqlClient holder(world.url);
  holder.run("BEGIN; INSERT INTO todos VALUES ('a10', 'mine', 1)");
  std::optional<Error> error;
  std::thread push([&] { error = a.sync(victim).error; });
  while (world.sql.number("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0) {
  }
  world.sql.run("SELECT pg_terminate_backend(" + std::to_string(pid->integer(0, 0)) + ", 10000)");
  push.join();
  holder.run("ROLLBACK");
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, Code::network) << error->message;
  EXPECT_FALSE((*db)->usable());
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), 0);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.record"), 0);
  EXPECT_TRUE(a.sync(victim).error);  // and it goes on saying so
  settle(world);
  expect_same(world);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), 10);
}

TEST_F(PostgresRepeat, AStatementThatIsCancelledIsARetry) {
  auto db = postgres::Connection::open(world.url);
  ASSERT_TRUE(db.ok());
  postgres::Tenant tenant("main", system_clock(), system_random());
  LoopbackServer slow(postgres::make_tenant_store(**db, tenant, false));
  slow.peer().clock().set(system_clock().now_ms());
  a.options.attempts = 1;
  a.peer.clock().set(system_clock().now_ms());
  ASSERT_FALSE(a.sync(slow).error);
  write(a, "a", 3);
  SqlClient holder(world.url);
  holder.run("BEGIN; INSERT INTO todos VALUES ('a2', 'mine', 1)");
  (*db)->set_deadline(std::chrono::steady_clock::now() + std::chrono::milliseconds(100));
  const sync::Done done = a.sync(slow);
  ASSERT_TRUE(done.error);
  EXPECT_TRUE(code_retryable(done.error->code)) << done.error->message;
  holder.run("ROLLBACK");
  (*db)->set_deadline(std::nullopt);
  EXPECT_TRUE((*db)->usable());
  EXPECT_FALSE(a.sync(slow).error);  // the same connection goes on
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), 3);
}

// What was queued for a request that failed is not sent with the next one.
TEST_F(PostgresRepeat, ARefusedRequestLeavesNothingInTheConnection) {
  auto db = postgres::Connection::open(world.url);
  ASSERT_TRUE(db.ok());
  postgres::Tenant tenant("main", system_clock(), system_random());
  auto store = postgres::make_tenant_store(**db, tenant, false);
  LoopbackServer server(std::move(store));
  const int64_t now = system_clock().now_ms();
  server.peer().clock().set(now);
  a.peer.clock().set(now + 3'600'000);  // refused: stamped an hour ahead
  server.settings.drift_ms = 1000;
  a.options.attempts = 1;
  write(a, "a", 3);
  (void)a.sync(server);
  EXPECT_TRUE((*db)->usable());
  EXPECT_FALSE((*db)->in_transaction());
  EXPECT_EQ((*db)->queued(), 0u);
  // A statement that fails, then the same one, then a good one: prepared or not, each says what it is.
  EXPECT_FALSE((*db)->query("SELECT 1/0").ok());
  EXPECT_FALSE((*db)->query("SELECT no_such_column").ok());
  EXPECT_FALSE((*db)->query("SELECT no_such_column").ok());
  (*db)->send("SELECT 7::int8");
  (*db)->send("SELECT 1/0");
  (*db)->send("SELECT 8::int8");
  EXPECT_FALSE((*db)->sync().ok());
  (*db)->send("SELECT 7::int8");
  auto eight = (*db)->query("SELECT 8::int8");
  ASSERT_TRUE(eight.ok()) << eight.error().message;
  EXPECT_EQ(eight->integer(0, 0), 8);
  // Nor do statements pile up at the server.
  for (int i = 0; i < 2500; ++i) ASSERT_TRUE((*db)->query("SELECT " + std::to_string(i)).ok());
  auto prepared = (*db)->query("SELECT count(*) FROM pg_prepared_statements");
  ASSERT_TRUE(prepared.ok());
  EXPECT_LT(prepared->integer(0, 0), 1100);
}

// A transaction that had failed before its COMMIT says so, rather than that it was kept.
TEST_F(PostgresRepeat, ACommitOfAFailedTransactionIsAnError) {
  auto db = postgres::Connection::open(world.url);
  ASSERT_TRUE(db.ok());
  postgres::Tenant tenant("main", system_clock(), system_random());
  {
    auto work = postgres::Work::begin(**db, tenant, postgres::Work::Mode::merge);
    ASSERT_TRUE(work.ok());
    EXPECT_FALSE((*db)->query("SELECT 1/0").ok());
    EXPECT_FALSE(work->commit().ok());
  }
  EXPECT_FALSE((*db)->in_transaction());
  EXPECT_TRUE(postgres::Work::begin(**db, tenant, postgres::Work::Mode::look).ok());
}

TEST_F(PostgresRepeat, ALogThatGrewLongIsCompactedAndNobodyMissesAnything) {
  write(a, "a", 10);
  settle(world);
  LoopbackDevice sleeper("s", kDevice, kTables);
  world.sync(sleeper);
  write(sleeper, "s", 2);
  world.sync(sleeper);
  settle(world);
  // Positions without rows, as folds write them, in the place of ten thousand merges.
  world.sql.run(
      "INSERT INTO rejoin.log SELECT t.id, t.tail + i, 0, 0, 1000 + i, '\\x00' FROM rejoin.tenant t, "
      "generate_series(1, 11000) AS i;"
      "UPDATE rejoin.tenant SET tail = tail + 11000");
  world.sql.run("INSERT INTO todos VALUES ('after', 'sql', 0)");
  settle(world);
  world.sql.run("UPDATE todos SET title = 'again' WHERE id = 'after'; DELETE FROM todos WHERE id = 'a3'");
  settle(world);
  // The device that sleeps holds the log back, until it is forgotten.
  write(a, "more", 1);
  world.sync(a);
  EXPECT_GT(world.sql.number("SELECT count(*) FROM rejoin.log"), 11000);
  world.sql.run("UPDATE rejoin.device SET last_seen = 0 WHERE device = 's'");
  write(b, "most", 1);
  settle(world);
  write(a, "last", 1);
  settle(world);
  EXPECT_LT(world.sql.number("SELECT count(*) FROM rejoin.log"), 100)
      << world.sql.rows("SELECT device, acknowledged, last_seen FROM rejoin.device");
  EXPECT_GT(world.sql.number("SELECT floor FROM rejoin.tenant"), 11000);
  expect_same(world);
  EXPECT_EQ(world.sync(a).rows_pulled, 0u);
  sleeper.peer.run("UPDATE todos SET title = 'by the sleeper' WHERE id = 's1'");
  for (int i = 0; i < 2; ++i) world.sync(sleeper);
  settle(world);
  expect_same(world);
  EXPECT_EQ(difference(plain(sleeper.peer, "SELECT * FROM todos ORDER BY id"),
                       plain(a.peer, "SELECT * FROM todos ORDER BY id")),
            "");
}

}  // namespace
}  // namespace rejoin::testing
