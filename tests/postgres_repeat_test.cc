// Over the PostgreSQL store any connection may die and any statement may fail: nothing is done by halves, and
// everything arrives once. (What any store promises: store_conformance_test.cc and store_sessions_test.cc.)
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
  world.sql.run("SELECT pg_terminate_backend(" + std::to_string(pid->integer(0, 0)) + ")");
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

// Of what PostgreSQL works on already nobody has asked the results yet.
TEST_F(PostgresRepeat, AStatementThatFailsUnderWayLeavesNoTransactionOpen) {
  auto db = postgres::Connection::open(world.url);
  ASSERT_TRUE(db.ok());
  postgres::Tenant tenant("main", system_clock(), system_random());
  {
    auto work = postgres::Work::begin(**db, tenant, postgres::Work::Mode::merge);
    ASSERT_TRUE(work.ok());
    (*db)->send("SELECT 1/0");
    (*db)->start();
  }
  EXPECT_FALSE((*db)->in_transaction());
  EXPECT_TRUE((*db)->usable());
}

}  // namespace
}  // namespace rejoin::testing
