// A PostgreSQL table is made and tracked wholly, or not at all, wherever it stops; and what an earlier build left half
// done is ended with the next attempt.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kDeviceTable = "CREATE TABLE t(id TEXT PRIMARY KEY, title TEXT DEFAULT 'none')";
constexpr const char* kRows = "SELECT id, title FROM t ORDER BY id";

// Ends the session that makes the capture triggers, the step that comes last.
constexpr const char* kStop =
    "CREATE FUNCTION stop() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM "
    "pg_terminate_backend(pg_backend_pid()); END $$; CREATE EVENT TRIGGER stop ON ddl_command_start WHEN TAG IN "
    "('CREATE TRIGGER') EXECUTE FUNCTION stop()";

std::unique_ptr<PostgresWorld> empty_world() {
  return std::make_unique<PostgresWorld>("", std::vector<std::string>{}, "", true);
}

void expect_all_here(PostgresWorld& world, LoopbackDevice& d) {
  world.sync(d);
  world.sync(d);
  EXPECT_EQ(d.peer.rows("SELECT * FROM rejoin_rejections"), "");
  EXPECT_EQ(world.sql.rows(kRows), "1|by a device\n");
  world.sql.run("INSERT INTO t VALUES ('2', 'by plain SQL')");
  world.sync(d);
  EXPECT_EQ(d.peer.rows(kRows), "'1'|'by a device'\n'2'|'by plain SQL'\n");
  world.expect_sound();
}

TEST(PostgresTrackedWholly, ATableThatASessionDidNotEndToMakeIsNotThere) {
  auto world = empty_world();
  LoopbackDevice d("d", kDeviceTable, {"t"});
  d.peer.run("INSERT INTO t VALUES ('1', 'by a device')");
  world->sql.run(kStop);
  EXPECT_TRUE(d.sync(world->server()).error.has_value());
  EXPECT_EQ(world->sql.number("SELECT count(*) FROM rejoin.tracked"), 0);
  EXPECT_EQ(world->sql.rows("SELECT to_regclass('public.t')"), "null\n");
  world->sql.run("DROP EVENT TRIGGER stop");
  world->close("main");
  expect_all_here(*world, d);
}

TEST(PostgresTrackedWholly, AnInterruptedTrackLeavesNothing) {
  auto world = empty_world();
  world->sql.run("CREATE TABLE t(id text PRIMARY KEY, title text)");
  world->sql.run(kStop);
  postgres::TrackRequest request;
  request.relation = "public.t";
  request.tenant = "main";
  {
    SqlClient other(world->url);
    EXPECT_FALSE(postgres::track(other.connection(), request, system_random(), {}).ok());
  }
  EXPECT_EQ(world->sql.number("SELECT count(*) FROM rejoin.tracked"), 0);
  // Columns that come later, the same.
  world->sql.run("ALTER EVENT TRIGGER stop DISABLE");
  world->track("public.t");
  world->sql.run("ALTER TABLE t ADD COLUMN n integer; ALTER EVENT TRIGGER stop ENABLE");
  {
    SqlClient other(world->url);
    EXPECT_FALSE(postgres::track(other.connection(), request, system_random(), {}).ok());
  }
  EXPECT_EQ(world->sql.rows("SELECT name FROM rejoin.tracked_column"), "title\n");
}

// Symptom: an administrator's table that was still empty was tracked, and what came into it later went to devices.
TEST(PostgresTrackedWholly, ATableOfSomebodyElseIsNotTracked) {
  auto world = empty_world();
  world->sql.run("CREATE TABLE t(id text PRIMARY KEY, title text DEFAULT 'none')");
  LoopbackDevice d("d", kDeviceTable, {"t"});
  d.peer.run("INSERT INTO t VALUES ('1', 'by a device')");
  world->sync(d);
  EXPECT_EQ(world->sql.number("SELECT count(*) FROM rejoin.tracked"), 0);
  EXPECT_EQ(d.peer.rows("SELECT code FROM rejoin_rejections"), "'schema_refused'\n");
  // What an earlier build left so, too, until it is tracked by hand.
  world->track("public.t");
  EXPECT_EQ(*d.peer.rejoin().retry(), 1);
  expect_all_here(*world, d);
}

// What INSERT INTO rejoin.tracked left by itself.
TEST(PostgresTrackedWholly, ATableThatIsOnlyInTheListIsTrackedByTheNextRequestOrByHand) {
  for (const bool by_hand : {false, true}) {
    auto world = empty_world();
    world->sql.run(
        "CREATE TABLE t(id text PRIMARY KEY, title text DEFAULT 'none'); INSERT INTO rejoin.tracked(relation, name, "
        "tenant) VALUES ('public.t', 't', 'main')");
    LoopbackDevice d("d", kDeviceTable, {"t"});
    d.peer.run("INSERT INTO t VALUES ('1', 'by a device')");
    if (by_hand) {
      d.caller.may_schema = false;
      world->sync(d);
      EXPECT_NE(d.peer.rows("SELECT reason FROM rejoin_rejections").find("rejoin pg track public.t"),
                std::string::npos);
      const auto found = postgres::doctor(world->sql.connection());
      ASSERT_TRUE(found.ok());
      ASSERT_EQ(found->size(), 1u);
      EXPECT_NE(found->front().find("run rejoin pg track public.t"), std::string::npos);
      world->track("public.t");
    }
    expect_all_here(*world, d);
  }
}

}  // namespace
}  // namespace rejoin::testing
