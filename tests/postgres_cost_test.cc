// A push costs what it changes: how many rows PostgreSQL reads for it does not grow with the table, whoever the server
// is there and whatever it is told of the table.
#include <gtest/gtest.h>

#include <thread>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

constexpr int kRows = 6'000;
constexpr int kPushes = 10;
constexpr int kChanged = 20;

enum class As { superuser, runtime_role, caller };

class PostgresCost : public ::testing::TestWithParam<As> {
 protected:
  void SetUp() override {
    if (GetParam() == As::superuser) return;
    world.sql.run(
        "DO $$ DECLARE r text; BEGIN FOREACH r IN ARRAY ARRAY['rejoin_runtime', 'app_user'] LOOP IF EXISTS (SELECT "
        "FROM pg_roles WHERE rolname = r) THEN EXECUTE 'DROP OWNED BY ' || r; ELSE EXECUTE 'CREATE ROLE ' || r; END "
        "IF; END LOOP; END $$; ALTER ROLE rejoin_runtime LOGIN; GRANT app_user TO rejoin_runtime;"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO rejoin_runtime, app_user");
    ASSERT_TRUE(postgres::init(world.sql.connection(), "rejoin_runtime").ok());
    world.url = world.url.substr(0, world.url.find("user=")) + "user=rejoin_runtime";
    if (GetParam() == As::runtime_role) return;
    world.sql.run(
        "ALTER TABLE todos ENABLE ROW LEVEL SECURITY; CREATE POLICY server ON todos TO rejoin_runtime USING (true) "
        "WITH CHECK (true); CREATE POLICY own ON todos TO app_user USING (org = "
        "current_setting('request.jwt.claims', true)::json->>'org')");
    world.as = {true, "", 3'600'000};
    device.caller.who.role = "app_user";
    device.caller.who.claims = "{\"org\":\"main\"}";
    device.caller.who.view = 1;
  }
  // By all connections that have ended.
  int64_t rows_read() {
    world.close("main");
    const std::string sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
    while (world.sql.number(sessions) > 1) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    world.sql.run("SELECT pg_stat_clear_snapshot()");
    return world.sql.number(
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_all_tables WHERE "
        "relid "
        "IN ('todos'::regclass, 'rejoin.record'::regclass)");
  }
  // Nothing tells PostgreSQL's planner how large the tables are, as after their first rows.
  PostgresWorld world{
      "CREATE TABLE todos(org text, id uuid, title text, PRIMARY KEY(org, id)) WITH (autovacuum_enabled = false)",
      {"public.todos"},
      "org"};
  LoopbackDevice device{"a", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT);", {"todos"}};
};

TEST_P(PostgresCost, APushOfFewRowsReadsFewRows) {
  world.sql.run("ALTER TABLE rejoin.record SET (autovacuum_enabled = false)");
  const std::string some =
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " + std::to_string(kRows) + ") ";
  device.peer.run(some +
                  "INSERT INTO todos SELECT printf('00000000-0000-7000-8000-%012x', i * 7919 % 100003), 'x' FROM n");
  world.sync(device);
  // With a policy of the application's in the way, the planner has to know something.
  if (GetParam() == As::caller) world.sql.run("ANALYZE todos");
  const int64_t before = rows_read();
  for (int i = 0; i < kPushes; ++i) {
    device.peer.run("UPDATE todos SET title = 'y" + std::to_string(i) + "' WHERE rowid % " +
                    std::to_string(kRows / kChanged) + " = " + std::to_string(i));
    EXPECT_EQ(world.sync(device).rows_pushed, static_cast<uint64_t>(kChanged));
  }
  const int64_t read = rows_read() - before;
  // All rows and their records, once, to see what the caller's view has.
  const int64_t allowed = GetParam() == As::caller ? 2 * kRows : 0;
  EXPECT_LT(read, allowed + kPushes * kChanged * 8);
  // Not sooner: PostgreSQL counts what this connection reads too, but tells of it when it likes.
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos WHERE title <> 'x'"), kPushes * kChanged);
}

// As after a restore, when PostgreSQL knows how many records there are and nothing else of them: it believed then that
// a page has a few rows here and there, and collected and sorted all that were left for each page.
TEST_P(PostgresCost, APullOfEverythingReadsEachRowAFewTimesWithoutStatistics) {
  constexpr int64_t kAll = 20'000;
  world.sql.run("ALTER TABLE rejoin.record SET (autovacuum_enabled = false)");
  world.sql.run("INSERT INTO todos SELECT 'main', gen_random_uuid(), 'x' FROM generate_series(1, " +
                std::to_string(kAll) + ")");
  world.sync(device);
  // With a policy of the application's in the way, the planner has to know something.
  if (GetParam() == As::caller) world.sql.run("ANALYZE todos");
  world.sql.run(
      "UPDATE pg_class SET reltuples = 1000000, relpages = pg_relation_size(oid) / 8192 WHERE oid = "
      "'rejoin.record'::regclass");
  LoopbackDevice other{"b", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT);", {"todos"}};
  other.caller = device.caller;
  other.caller.device = "b";
  const int64_t before = rows_read();
  EXPECT_EQ(world.sync(other).rows_pulled, static_cast<uint64_t>(kAll));
  // Its key, its record, the row.
  const int64_t read = rows_read() - before;
  EXPECT_GE(read, 2 * kAll);
  EXPECT_LT(read, 4 * kAll);
}

INSTANTIATE_TEST_SUITE_P(The, PostgresCost, ::testing::Values(As::superuser, As::runtime_role, As::caller),
                         [](const ::testing::TestParamInfo<As>& as) {
                           return as.param == As::superuser      ? "ServerIsASuperuser"
                                  : as.param == As::runtime_role ? "ServerHasARoleOfItsOwn"
                                                                 : "CallersRoleWrites";
                         });

}  // namespace
}  // namespace rejoin::testing
