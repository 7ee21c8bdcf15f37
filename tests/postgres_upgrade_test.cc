// A schema "rejoin" of an earlier version: a server goes on serving it, and `rejoin pg init` brings it up to date with
// everything in it.
#include <gtest/gtest.h>

#include "postgres/install.sql.h"
#include "postgres/upgrades.h"
#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

constexpr const char* kDevice = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)";

class PostgresUpgrade : public ::testing::Test {
 protected:
  PostgresUpgrade() : url(PostgresServer::shared().fresh_database()), sql(url) {
    // As version 1 was installed, and its role let in.
    sql.run(std::string("BEGIN;") + postgres::kInstallSql + "COMMIT");
    sql.run(
        "CREATE TABLE todos(id text PRIMARY KEY, title text); INSERT INTO todos VALUES('old', 'x');"
        "DROP ROLE IF EXISTS upgrade_runtime; CREATE ROLE upgrade_runtime LOGIN;"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO upgrade_runtime; GRANT USAGE ON SCHEMA rejoin TO "
        "upgrade_runtime;"
        "GRANT SELECT ON rejoin.meta, rejoin.tracked, rejoin.tracked_column TO upgrade_runtime;"
        "GRANT SELECT, INSERT, UPDATE ON rejoin.tenant TO upgrade_runtime;"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON rejoin.site, rejoin.record, rejoin.log, rejoin.outbox, rejoin.device, "
        "rejoin.stream, rejoin.staged, rejoin.contract TO upgrade_runtime;"
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA rejoin TO upgrade_runtime");
    world = PostgresWorld::over(url);
    world->track("public.todos");
    world->url = url.substr(0, url.find("user=")) + "user=upgrade_runtime";
  }
  ~PostgresUpgrade() override {
    world.reset();
    sql.run("DROP OWNED BY upgrade_runtime; DROP ROLE upgrade_runtime");
  }
  std::string url;
  SqlClient sql;
  std::unique_ptr<PostgresWorld> world;
};

TEST_F(PostgresUpgrade, AnOlderSchemaIsServedAndThenBroughtUpToDate) {
  LoopbackDevice a("a", kDevice, {"todos"}), b("b", kDevice, {"todos"});
  EXPECT_TRUE(postgres::check_version(sql.connection()).ok());
  EXPECT_EQ(*postgres::installed_version(sql.connection()), 1);
  a.peer.run("INSERT INTO todos VALUES('a', 'before')");
  world->sync(a);
  auto findings = postgres::doctor(sql.connection());
  ASSERT_TRUE(findings.ok());
  ASSERT_EQ(findings->size(), 1u);
  EXPECT_NE((*findings)[0].find("rejoin pg init"), std::string::npos);

  // While a server is connected.
  auto upgraded = postgres::init(sql.connection(), "");
  ASSERT_TRUE(upgraded.ok()) << upgraded.error().message;
  EXPECT_TRUE(*upgraded);
  EXPECT_EQ(*postgres::installed_version(sql.connection()), postgres::kSchemaVersion);
  EXPECT_FALSE(*postgres::init(sql.connection(), ""));
  world->expect_sound();
  a.peer.run("INSERT INTO todos VALUES('a2', 'after')");
  world->sync(a);
  world->sync(b);
  EXPECT_EQ(b.peer.rows("SELECT id FROM todos ORDER BY id"), "'a'\n'a2'\n'old'\n");
  EXPECT_EQ(a.exchanges, 1u);  // nobody starts over
  // The role that served it before may use what is new, and no more of it than it needs.
  SqlClient runtime(world->url);
  runtime.run("SELECT rejoin.audit_partitions()");
  runtime.run(
      "BEGIN; SELECT set_config('rejoin.tenant', 'main', true); INSERT INTO rejoin.audit(tenant, device, event) VALUES "
      "('main', 'a', 'push'); COMMIT");
  EXPECT_EQ(runtime.attempt("DELETE FROM rejoin.audit"), "42501");
  EXPECT_EQ(runtime.attempt("UPDATE rejoin.meta SET audit_days = 1"), "42501");
  EXPECT_EQ(runtime.attempt("DROP TABLE rejoin.audit"), "42501");
  EXPECT_EQ(runtime.number("SELECT count(*) FROM rejoin.audit"), 0);  // of no tenant: nothing is seen
}

// Before, pushes failed for good when the log had become long.
TEST_F(PostgresUpgrade, AnOlderSchemasLogIsCompactedBesidePushes) {
  LoopbackDevice a("a", kDevice, {"todos"});
  world->sync(a);
  sql.run("UPDATE rejoin.tenant SET tail = 20000");
  for (const char* id : {"1", "2", "3"}) {
    a.peer.run(std::string("INSERT INTO todos VALUES('") + id + "', 'x')");
    world->sync(a);
  }
  EXPECT_EQ(sql.number("SELECT count(*) FROM todos"), 4);
  EXPECT_GE(sql.number("SELECT floor FROM rejoin.tenant"), 20000);
  EXPECT_EQ(sql.number("SELECT count(*) FROM rejoin.log WHERE seq < (SELECT floor FROM rejoin.tenant)"), 0);
}

TEST_F(PostgresUpgrade, AnOlderSchemaIsLookedAfter) {
  LoopbackDevice a("a", kDevice, {"todos"});
  a.peer.run("INSERT INTO todos VALUES('a', 'x')");
  world->sync(a);
  ASSERT_TRUE(postgres::status(sql.connection()).ok());
  const auto forgotten = world->admin("main")->forget("a");
  EXPECT_TRUE(forgotten.ok()) << forgotten.error().message;
  world->sync(a);
  const auto compacted = postgres::compact(sql.connection(), {}, system_clock(), system_random(), {});
  ASSERT_FALSE(compacted.ok());
  EXPECT_NE(compacted.error().message.find("rejoin pg init"), std::string::npos);
  const Status untracked = postgres::untrack(sql.connection(), "todos");
  EXPECT_TRUE(untracked.ok()) << untracked.error().message;
  world->track("public.todos");
  sql.run("DROP TABLE todos; CREATE TABLE todos(id text PRIMARY KEY, title text)");
  world->track("public.todos");
}

TEST_F(PostgresUpgrade, WhatWasUpgradedIsWhatIsInstalledAnew) {
  ASSERT_TRUE(postgres::init(sql.connection(), "upgrade_runtime").ok());
  PostgresWorld fresh;
  ASSERT_TRUE(postgres::init(fresh.sql.connection(), "upgrade_runtime").ok());
  for (const char* look :
       {"SELECT c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relacl::text AS acl FROM pg_class c "
        "WHERE c.relnamespace = 'rejoin'::regnamespace ORDER BY 1",
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull, "
        "pg_get_expr(d.adbin, d.adrelid) AS def FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN "
        "pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE c.relnamespace = 'rejoin'::regnamespace "
        "AND a.attnum > 0 ORDER BY 1, 2",
        "SELECT p.proname, p.proacl::text AS acl, p.prosecdef FROM pg_proc p WHERE p.pronamespace = "
        "'rejoin'::regnamespace AND p.proname NOT LIKE 'capture%' ORDER BY 1",
        "SELECT tablename, policyname, cmd, qual, with_check FROM pg_policies WHERE schemaname = 'rejoin' ORDER BY 1, "
        "2"})
    EXPECT_EQ(difference(sql.rows(look), fresh.sql.rows(look)), "");
  fresh.sql.run("DROP OWNED BY upgrade_runtime");
}

TEST_F(PostgresUpgrade, ANewerSchemaIsLeftAlone) {
  sql.run("UPDATE rejoin.meta SET version = " + std::to_string(postgres::kSchemaVersion + 1));
  auto done = postgres::init(sql.connection(), "");
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, Code::unsupported);
  EXPECT_EQ(postgres::check_version(sql.connection()).error().code, Code::unsupported);
}

// The server's own partitions come and go with the days.
TEST_F(PostgresUpgrade, OldPartitionsOfTheAuditLogAreDroppedUnlessSomebodyReads) {
  ASSERT_TRUE(postgres::init(sql.connection(), "upgrade_runtime").ok());
  sql.run(
      "CREATE TABLE rejoin.audit_20200101 PARTITION OF rejoin.audit FOR VALUES FROM ('2020-01-01') TO ('2020-01-02');"
      "INSERT INTO rejoin.audit(at, tenant, device, event) VALUES ('2020-01-01 12:00Z', 't', 'd', 'push')");
  SqlClient reader(url);
  reader.run("BEGIN; SELECT count(*) FROM rejoin.audit");  // as pg_dump does, for an hour
  sql.run("SELECT rejoin.audit_partitions()");
  EXPECT_EQ(sql.number("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^audit_2'"), 3);
  reader.run("ROLLBACK");
  for (int i = 0; i < 2; ++i) {
    sql.run("SELECT rejoin.audit_partitions()");
    EXPECT_EQ(sql.rows("SELECT count(*), count(*) FILTER (WHERE relname = 'audit_' || to_char(now() AT TIME ZONE "
                       "'UTC', 'YYYYMMDD')) AS today FROM pg_class WHERE relkind = 'r' AND relname ~ '^audit_2'"),
              "2|1\n");
  }
}

TEST_F(PostgresUpgrade, DefaultPrivilegesLetNobodyChangeTheAuditLog) {
  sql.run("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO upgrade_runtime, PUBLIC");
  ASSERT_TRUE(postgres::init(sql.connection(), "upgrade_runtime").ok());
  SqlClient runtime(world->url);
  runtime.run("SELECT rejoin.audit_partitions()");
  const std::string today = sql.rows("SELECT 'rejoin.audit_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')");
  const std::string partition = today.substr(0, today.find('\n'));
  for (const std::string& table : {std::string("rejoin.audit"), partition}) {
    EXPECT_EQ(runtime.attempt("DELETE FROM " + table), "42501") << table;
    EXPECT_EQ(runtime.attempt("UPDATE " + table + " SET device = 'x'"), "42501") << table;
    EXPECT_EQ(runtime.attempt("TRUNCATE " + table), "42501") << table;
  }
  EXPECT_EQ(runtime.attempt("SELECT * FROM " + partition), "42501");
  sql.run("ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM upgrade_runtime, PUBLIC");
}

}  // namespace
}  // namespace rejoin::testing
