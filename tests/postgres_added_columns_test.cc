// A column that counts as synced is captured, whoever has added another one at the same time.
#include <gtest/gtest.h>

#include <thread>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

std::string with(const std::string& columns) { return "CREATE TABLE t(id TEXT PRIMARY KEY" + columns + ")"; }

contract::Table contract_of(const std::string& columns) {
  Peer peer(with(columns), {"t"});
  return contract::from_json(*peer.rejoin().contract_json())->tables[0];
}

void expect_all_captured(PostgresWorld& world) {
  LoopbackDevice d("d", with(", xa TEXT, xb TEXT"), {"t"});
  world.sql.run("INSERT INTO t(id) VALUES('1')");
  world.sync(d);
  world.sql.run("UPDATE t SET xa = 'plain'");
  world.sync(d);
  world.sql.run("UPDATE t SET xb = 'plain'");
  world.sync(d);
  EXPECT_EQ(d.peer.rows("SELECT id, xa, xb FROM t"), "'1'|'plain'|'plain'\n");
  world.expect_sound();
}

// Symptom: the capture knew the later one only, and plain SQL's writes of the other reached nobody; doctor found
// nothing.
TEST(PostgresAddedColumns, OfTwoThatAddTheLaterOneLooksAgainUnderItsLock) {
  PostgresWorld world("CREATE TABLE t(id text PRIMARY KEY)", {"public.t"});
  const auto known = postgres::load_catalog(world.sql.connection(), "main");
  ASSERT_TRUE(known.ok());
  for (const char* columns : {", xa TEXT", ", XA TEXT, xb TEXT"}) {
    const Status added = postgres::add_columns(world.sql.connection(), known->tables[0], contract_of(columns));
    ASSERT_TRUE(added.ok()) << added.error().message;
  }
  expect_all_captured(world);
}

TEST(PostgresAddedColumns, SoDoesOneBehindAnAdministrator) {
  PostgresWorld world("CREATE TABLE t(id text PRIMARY KEY)", {"public.t"});
  const auto known = postgres::load_catalog(world.sql.connection(), "main");
  ASSERT_TRUE(known.ok());
  world.sql.run("ALTER TABLE t ADD COLUMN xa text");
  world.track("public.t");
  const Status added = postgres::add_columns(world.sql.connection(), known->tables[0], contract_of(", xb TEXT"));
  ASSERT_TRUE(added.ok()) << added.error().message;
  expect_all_captured(world);
}

TEST(PostgresAddedColumns, DevicesThatAddAtTheSameTimeAndWaitForALock) {
  PostgresWorld world("CREATE TABLE t(id text PRIMARY KEY)", {"public.t"}, "", true);
  LoopbackDevice a("a", with(", xa TEXT"), {"t"}), b("b", with(", xb TEXT"), {"t"});
  LoopbackServer &one = world.server("main#1"), &two = world.server("main#2");
  SqlClient other(world.url);
  other.run("BEGIN; SELECT * FROM t");
  std::thread thread_a([&] { a.must_sync(one); }), thread_b([&] { b.must_sync(two); });
  while (world.sql.number("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass") < 2)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  other.run("COMMIT");
  thread_a.join();
  thread_b.join();
  expect_all_captured(world);
}

TEST(PostgresAddedColumns, DoctorNamesOneThatIsNotCaptured) {
  PostgresWorld world("CREATE TABLE t(id text PRIMARY KEY, xa text, xb text)", {"public.t"});
  world.sql.run(
      "DO $$ BEGIN EXECUTE (SELECT replace(pg_get_functiondef(oid), 'OLD.\"xa\"', 'NEW.\"xa\"') FROM pg_proc WHERE "
      "proname LIKE 'capture\\_%'); END $$");
  const auto found = postgres::doctor(world.sql.connection());
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), 1u);
  EXPECT_NE(found->front().find("column xa of public.t"), std::string::npos) << found->front();
  world.track("public.t");
  expect_all_captured(world);
}

}  // namespace
}  // namespace rejoin::testing
