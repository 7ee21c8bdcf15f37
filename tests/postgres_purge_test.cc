// PostgreSQL's store forgets deletions beside whatever else happens to the database. What it means to devices:
// tests/forgetting_conformance_test.cc.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "postgres/purge.h"
#include "tests/support/forgetting_server.h"
#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

constexpr int64_t kDay = int64_t{24} * 3600 * 1000;

class PostgresPurge : public ::testing::Test {
 protected:
  PostgresPurge() : server(ForgettingServer::make(StoreKind::postgres)), a("a", kForgettingSchema, {"t"}) {
    pass(0);
    sql = std::make_unique<SqlClient>(server->url());
  }
  void pass(int64_t days) {
    a.peer.clock().advance(days * kDay);
    server->set_clock(a.peer.clock().now_ms());
  }
  void sync() { a.must_sync(server->node()); }
  // As `rejoin pg compact` of a process of its own.
  postgres::Compacted compact(bool dry_run = false) {
    auto db = postgres::Connection::open(server->url());
    EXPECT_TRUE(db.ok());
    FakeClock clock;
    clock.set(server->now_ms());
    auto done = postgres::compact(**db, {"", {}, dry_run}, clock, system_random(), nullptr);
    EXPECT_TRUE(done.ok()) << done.error().message;
    return done.ok() ? *done : postgres::Compacted();
  }
  // Plain SQL inserts and deletes so many, and the device has heard of it.
  void leave_deletions(int count) {
    a.peer.run("INSERT INTO t VALUES('mine', '0', '0')");
    sync();
    server->run("INSERT INTO t SELECT 'gone ' || i, 'v', 'w' FROM generate_series(1, " + std::to_string(count) +
                ") AS i; INSERT INTO t SELECT 'here ' || i, 'v', 'w' FROM generate_series(1, 50) AS i");
    sync();
    server->run("DELETE FROM t WHERE id LIKE 'gone%'");
    sync();
    pass(40);
    // No sync forgets any by itself.
    sql->run("UPDATE rejoin.tenant SET looked = " + std::to_string(server->now_ms()));
    sync(), sync();
  }

  std::unique_ptr<ForgettingServer> server;
  std::unique_ptr<SqlClient> sql;
  LoopbackDevice a;
};

TEST_F(PostgresPurge, NodesThatForgetAtTheSameTimeForgetEachDeletionOnce) {
  constexpr int kCount = 12'000;  // two chunks
  leave_deletions(kCount);
  ASSERT_EQ(server->records(), kCount + 51);
  std::atomic<int64_t> gone = 0;
  std::vector<std::thread> nodes;
  for (int i = 0; i < 3; ++i) nodes.emplace_back([&] { gone += compact().deletions; });
  // Devices go on meanwhile.
  for (int i = 0; i < 5; ++i) {
    a.peer.run("UPDATE t SET v = v + 1 WHERE id = 'mine'");
    sync();
  }
  for (std::thread& node : nodes) node.join();
  EXPECT_EQ(gone, kCount);
  EXPECT_EQ(server->records(), 51);
  EXPECT_EQ(server->rows({"v"}, "id = 'mine'"), "'5'\n");
  LoopbackDevice fresh("fresh", kForgettingSchema, {"t"});
  fresh.must_sync(server->node(1));
  EXPECT_EQ(fresh.peer.number("SELECT count(*) FROM t"), 51);
  EXPECT_EQ(fresh.peer.number("SELECT count(*) FROM t__rejoin"), 51);
  server->expect_sound();
}

TEST_F(PostgresPurge, AnyNodeGoesOnWhereTheLookOfAnotherEnded) {
  leave_deletions(12'000);
  pass(1);
  // Each push of the day looks a part of the records through.
  for (int i = 0; i < 8; ++i) {
    a.peer.run("UPDATE t SET v = v + 1 WHERE id = 'mine'");
    a.must_sync(server->node(static_cast<size_t>(i % 2)));
  }
  EXPECT_EQ(server->records(), 51);
  // Then nobody looks until the day is over.
  const std::string looked = sql->rows("SELECT looked, look_tbl, look_k FROM rejoin.tenant");
  a.peer.run("UPDATE t SET v = 'again'");
  sync();
  EXPECT_EQ(sql->rows("SELECT looked, look_tbl, look_k FROM rejoin.tenant"), looked);
}

// A new tenant's day begins by PostgreSQL's clock.
TEST_F(PostgresPurge, ANodeWhoseClockIsBehindTheDatabaseDoesNotForgetBeforeTheDayIsOver) {
  leave_deletions(30);
  sql->run("UPDATE rejoin.tenant SET looked = " + std::to_string(server->now_ms() + 3'000));
  for (int i = 0; i < 2; ++i) {
    a.peer.run("UPDATE t SET v = v + 1 WHERE id = 'mine'");
    sync();
  }
  EXPECT_EQ(server->records(), 81);
  pass(2);
  for (int i = 0; i < 2; ++i) {
    a.peer.run("UPDATE t SET v = v + 1 WHERE id = 'mine'");
    sync();
  }
  EXPECT_EQ(server->records(), 51);
}

TEST_F(PostgresPurge, ADryRunCountsAndChangesNothing) {
  leave_deletions(30);
  const std::string look = "SELECT horizon, purged, floor, tail FROM rejoin.tenant";
  const std::string before = sql->rows(look);
  const int64_t log = server->kept("log");
  const postgres::Compacted would = compact(true);
  EXPECT_EQ(would.deletions, 30);
  EXPECT_EQ(server->records(), 81);
  EXPECT_EQ(server->kept("log"), log);
  EXPECT_EQ(sql->rows(look), before);
  const postgres::Compacted does = compact();
  EXPECT_EQ(does.deletions, would.deletions);
  EXPECT_EQ(does.log_rows, would.log_rows);
  EXPECT_EQ(server->records(), 51);
}

TEST_F(PostgresPurge, APlainInsertThatIsNotCommittedYetIsNotLost) {
  leave_deletions(30);
  sql->run("BEGIN; INSERT INTO t VALUES('gone 7', 'anew', 'w')");
  EXPECT_EQ(compact().deletions, 30);
  sql->run("COMMIT");
  // Its clock is the real one, which is ahead of the story's.
  server->set_clock(system_clock().now_ms());
  a.peer.clock().set(system_clock().now_ms());
  sync();
  EXPECT_EQ(a.peer.rows("SELECT v FROM t WHERE id = 'gone 7'"), "'anew'\n");
  EXPECT_EQ(server->records(), 52);
  server->expect_sound();
}

TEST_F(PostgresPurge, ACapturedInsertThatIsNotFoldedYetIsNotLost) {
  leave_deletions(30);
  server->run("INSERT INTO t VALUES('gone 7', 'anew', 'w')");
  postgres::PurgePlace place;
  {
    // Without the fold that the command begins with.
    auto db = postgres::Connection::open(server->url());
    ASSERT_TRUE(db.ok());
    FakeClock clock;
    clock.set(server->now_ms());
    postgres::Tenant tenant("main", clock, system_random());
    sql->run("UPDATE rejoin.device SET acknowledged = (SELECT tail FROM rejoin.tenant)");
    sql->run("UPDATE rejoin.tenant SET floor = tail");
    auto purged = postgres::purge_some(**db, tenant, {clock.now_ms(), {}, false}, place);
    ASSERT_TRUE(purged.ok()) << purged.error().message;
    EXPECT_EQ(purged->deletions, 30);
  }
  sync();
  EXPECT_EQ(a.peer.rows("SELECT v FROM t WHERE id = 'gone 7'"), "'anew'\n");
  server->expect_sound();
}

// Rows that were there before their table was tracked have no record until `pg track` has come to them.
TEST_F(PostgresPurge, ARowThatHasNoRecordYetIsNotTakenForAForgottenOne) {
  leave_deletions(30);
  EXPECT_EQ(compact().deletions, 30);
  ASSERT_EQ(a.peer.number("SELECT count(*) FROM t"), 51);
  sql->run("DELETE FROM rejoin.record WHERE position('mine'::bytea IN k) > 0 OR position('here 1'::bytea IN k) > 0");
  // It sends everything again, its own row that is older than the horizon too.
  server->forget_devices();
  a.peer.run("UPDATE t SET w = 'edited'");
  sync();
  EXPECT_EQ(a.peer.rows("SELECT key, code, reason FROM rejoin_rejections"), "");
  EXPECT_EQ(sql->number("SELECT count(*) FROM t WHERE w = 'edited'"), 51);
  EXPECT_EQ(server->records(), 51);
  server->expect_sound();
}

TEST_F(PostgresPurge, OnlyTheOwnerSaysHowLongDeletionsAreKept) {
  for (const int64_t days : {int64_t{-1}, postgres::kLongestKeepDays + 1}) {
    auto done = postgres::compact(sql->connection(), {"", days, false}, system_clock(), system_random(), nullptr);
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code, Code::bad_argument);
  }
  EXPECT_EQ(postgres::status(sql->connection())->keep_days, 30);
  ASSERT_TRUE(postgres::compact(sql->connection(), {"", 90, false}, system_clock(), system_random(), nullptr).ok());
  EXPECT_EQ(postgres::status(sql->connection())->keep_days, 90);
  sql->run(
      "DROP ROLE IF EXISTS purge_runtime; CREATE ROLE purge_runtime LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON t "
      "TO "
      "purge_runtime");
  ASSERT_TRUE(postgres::init(sql->connection(), "purge_runtime").ok());
  const std::string url = server->url().substr(0, server->url().find("user=")) + "user=purge_runtime";
  {
    auto db = postgres::Connection::open(url);
    ASSERT_TRUE(db.ok());
    EXPECT_TRUE(postgres::compact(**db, {"", {}, false}, system_clock(), system_random(), nullptr).ok());
    auto done = postgres::compact(**db, {"", 1, false}, system_clock(), system_random(), nullptr);
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code, Code::forbidden);
  }
  sql->run("DROP OWNED BY purge_runtime; DROP ROLE purge_runtime");
}

// ---- under row-level security

const std::string kGuarded =
    "CREATE TABLE todos(id text PRIMARY KEY, owner text, title text);"
    "ALTER TABLE todos ENABLE ROW LEVEL SECURITY;"
    "CREATE POLICY own ON todos TO PUBLIC USING (owner = current_setting('request.jwt.claims', true)::json->>'sub');"
    "DO $$ DECLARE r text; BEGIN FOREACH r IN ARRAY ARRAY['rejoin_runtime', 'app_user'] LOOP IF EXISTS (SELECT FROM "
    "pg_roles WHERE rolname = r) THEN EXECUTE 'DROP OWNED BY ' || r; ELSE EXECUTE 'CREATE ROLE ' || r; END IF; END "
    "LOOP; END $$;"
    "ALTER ROLE rejoin_runtime LOGIN; GRANT app_user TO rejoin_runtime;"
    "GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO rejoin_runtime, app_user;"
    "CREATE POLICY server ON todos TO rejoin_runtime USING (true) WITH CHECK (true);";
const std::string kGuardedDevice = "CREATE TABLE todos(id TEXT PRIMARY KEY, owner TEXT, title TEXT)";

TEST(PostgresPurgeUnderRowSecurity, WhoWasAwayLosesWhatIsForgottenAndWhatIsHiddenFromIt) {
  PostgresWorld world(kGuarded, {"public.todos"});
  ASSERT_TRUE(postgres::init(world.sql.connection(), "rejoin_runtime").ok());
  world.url = world.url.substr(0, world.url.find("user=")) + "user=rejoin_runtime";
  world.as = {true, "", 3'600'000};
  LoopbackDevice ann("ann", kGuardedDevice, {"todos"}), bob("bob", kGuardedDevice, {"todos"});
  uint64_t view = 0;
  for (LoopbackDevice* d : {&ann, &bob}) {
    d->caller.who.role = "app_user";
    d->caller.who.claims = "{\"sub\":\"" + std::string(d == &ann ? "ann" : "bob") + "\"}";
    d->caller.who.view = ++view;
  }
  ann.peer.clock().set(system_clock().now_ms());
  ann.peer.run(
      "INSERT INTO todos VALUES('edited', 'ann', 'x'), ('gone', 'ann', 'x'), ('given away', 'ann', 'x'), ('stays', "
      "'ann', 'x')");
  for (int i = 0; i < 2; ++i) world.sync(ann), world.sync(bob);
  ASSERT_EQ(world.sql.number("SELECT count(*) FROM rejoin.shown"), 4);
  // While she is away:
  world.sql.run(
      "DELETE FROM todos WHERE id IN ('gone', 'edited'); UPDATE todos SET owner = 'bob' WHERE id = 'given away'");
  ann.peer.clock().set(system_clock().now_ms() + 1'000);
  ann.peer.run("UPDATE todos SET title = 'edited' WHERE id = 'edited'");
  world.sync(bob);
  world.sql.run(
      "UPDATE rejoin.meta SET keep_days = 0; UPDATE rejoin.view SET used = used + 3600000");  // both are in use
  auto db = postgres::Connection::open(world.url);
  ASSERT_TRUE(db.ok());
  auto done = postgres::compact(**db, {"", {}, false}, system_clock(), system_random(), nullptr);
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(done->deletions, 2);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.shown s WHERE NOT EXISTS (SELECT FROM rejoin.record r WHERE "
                             "r.k = s.k)"),
            0);
  world.sync(ann);
  EXPECT_EQ(ann.peer.rows("SELECT id FROM todos ORDER BY id"), "'edited'\n'stays'\n");
  EXPECT_EQ(ann.peer.rows("SELECT key, code, server FROM rejoin_rejections"),
            "'[\"edited\"]'|'before_horizon'|'null'\n");
  ASSERT_TRUE(ann.peer.rejoin().discard_all().ok());
  for (int i = 0; i < 2; ++i) world.sync(ann), world.sync(bob);
  EXPECT_EQ(ann.peer.rows("SELECT id FROM todos"), "'stays'\n");
  EXPECT_EQ(bob.peer.rows("SELECT id FROM todos"), "'given away'\n");
  for (LoopbackDevice* d : {&ann, &bob}) d->peer.expect_sound();
  world.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
