// Tenants share tables and see nothing of each other: not through sync, not through its refusals, and not through a
// bare query over Rejoin's own tables.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

std::string plain(Peer& p, const std::string& sql) {
  std::string out = p.rows(sql);
  std::erase(out, '\'');
  return out;
}

constexpr const char* kDevice = "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT)";
const std::vector<std::string> kTables{"notes"};

void settle(PostgresWorld& world, const std::vector<std::pair<LoopbackDevice*, std::string>>& devices) {
  for (int i = 0; i < 2; ++i)
    for (const auto& [device, tenant] : devices) world.sync_as(*device, tenant);
}

class TenantColumns : public ::testing::TestWithParam<std::tuple<const char*, const char*, const char*>> {};

// A tenant column in the key: the same key at two tenants is two rows.
TEST_P(TenantColumns, InTheKeyTheSameKeyIsARowOfEach) {
  const auto& [type, one, two] = GetParam();
  PostgresWorld world(std::string("CREATE TABLE notes(org ") + type + ", id text, body text, PRIMARY KEY (org, id))",
                      {"public.notes"}, "org");
  LoopbackDevice a("a", kDevice, kTables), a2("a2", kDevice, kTables), b("b", kDevice, kTables);
  a.peer.run("INSERT INTO notes VALUES ('k', 'of one'), ('only', 'one')");
  b.peer.run("INSERT INTO notes VALUES ('k', 'of two')");
  world.sql.run(std::string("INSERT INTO notes VALUES ('") + two + "', 'sql', 'of two')");
  const std::vector<std::pair<LoopbackDevice*, std::string>> all{{&a, one}, {&a2, one}, {&b, two}};
  settle(world, all);
  EXPECT_EQ(world.sql.rows("SELECT id, body FROM notes ORDER BY id, body"),
            "k|of one\nk|of two\nonly|one\nsql|of two\n");
  world.sql.run(std::string("UPDATE notes SET body = 'changed' WHERE org = '") + two + "' AND id = 'k'");
  a2.peer.run("UPDATE notes SET body = 'one again' WHERE id = 'k'; DELETE FROM notes WHERE id = 'only'");
  settle(world, all);
  EXPECT_EQ(plain(a.peer, "SELECT * FROM notes"), "k|one again\n");
  EXPECT_EQ(plain(b.peer, "SELECT * FROM notes ORDER BY id"), "k|changed\nsql|of two\n");
  // A row that moves to another tenant leaves the first.
  world.sql.run(std::string("UPDATE notes SET org = '") + one + "' WHERE id = 'sql'");
  settle(world, all);
  EXPECT_EQ(plain(b.peer, "SELECT id FROM notes ORDER BY id"), "k\n");
  EXPECT_EQ(plain(a2.peer, "SELECT id, body FROM notes ORDER BY id"), "k|one again\nsql|of two\n");
  for (LoopbackDevice* d : {&a, &a2, &b}) EXPECT_EQ(d->peer.number("SELECT count(*) FROM rejoin_rejections"), 0);
  world.expect_sound();
}

INSTANTIATE_TEST_SUITE_P(Types, TenantColumns,
                         ::testing::Values(std::tuple("text", "one", "two"), std::tuple("varchar(3)", "one", "two"),
                                           std::tuple("integer", "1", "-2"),
                                           std::tuple("uuid", "00000000-0000-7000-8000-000000000001",
                                                      "00000000-0000-7000-8000-000000000002")));

TEST(PostgresTenants, AKeyOfAnotherTenantIsRefusedAndToldNothingOf) {
  PostgresWorld world("CREATE TABLE notes(id text PRIMARY KEY, body text, org text)", {"public.notes"}, "org");
  LoopbackDevice a("a", kDevice, kTables), b("b", kDevice, kTables);
  a.peer.run("INSERT INTO notes VALUES ('k', 'secret words')");
  world.sync_as(a, "one");
  b.peer.run("INSERT INTO notes VALUES ('k', 'stolen'), ('mine', 'fine')");
  settle(world, {{&b, "two"}, {&a, "one"}});
  EXPECT_EQ(world.sql.rows("SELECT * FROM notes ORDER BY id"), "k|secret words|one\nmine|fine|two\n");
  EXPECT_EQ(plain(a.peer, "SELECT * FROM notes"), "k|secret words\n");
  const std::string reason = b.peer.rows("SELECT reason FROM rejoin_rejections");
  EXPECT_NE(reason, "");
  EXPECT_EQ(reason.find("secret"), std::string::npos) << reason;
  EXPECT_EQ(reason.find("one"), std::string::npos) << reason;
  // Deleting and updating reach it no more than inserting does.
  b.peer.run("UPDATE notes SET body = 'stolen again' WHERE id = 'k'");
  world.sync_as(b, "two");
  b.peer.run("DELETE FROM notes WHERE id = 'k'");
  settle(world, {{&b, "two"}, {&a, "one"}});
  EXPECT_EQ(world.sql.rows("SELECT body FROM notes WHERE id = 'k'"), "secret words\n");
  EXPECT_EQ(plain(a.peer, "SELECT * FROM notes"), "k|secret words\n");
}

// A tenant's name that the column would store as another's must reach no row of the other.
TEST(PostgresTenants, ANameThatTheColumnWouldTakeForAnotherReachesNothing) {
  for (const auto& [type, name, other] :
       {std::tuple("varchar(3)", "one", "one-more"), std::tuple("integer", "7", "007"),
        std::tuple("integer", "7", "seven"), std::tuple("integer", "7", "99999999999"),
        std::tuple("uuid", "00000000-0000-7000-8000-00000000000a", "00000000-0000-7000-8000-00000000000A")}) {
    SCOPED_TRACE(std::string(type) + " " + other);
    PostgresWorld world(std::string("CREATE TABLE notes(org ") + type +
                            ", id text, body text, PRIMARY KEY (org, id)); CREATE TABLE plain(id text PRIMARY KEY)",
                        {"public.notes"}, "org");
    LoopbackDevice a("a", kDevice, kTables), b("b", kDevice, kTables);
    a.peer.run("INSERT INTO notes VALUES ('k', 'mine')");
    world.sync_as(a, name);
    b.peer.run("INSERT INTO notes VALUES ('k', 'stolen'), ('new', 'stolen')");
    settle(world, {{&b, other}, {&a, name}});
    EXPECT_EQ(world.sql.rows("SELECT id, body FROM notes"), "k|mine\n");
    EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_rejections"), 2);
    EXPECT_EQ(plain(a.peer, "SELECT * FROM notes"), "k|mine\n");
  }
}

TEST(PostgresTenants, RowsOfNoTenantAreNobodysAndKeepNothing) {
  PostgresWorld world("CREATE TABLE notes(id text PRIMARY KEY, body text, org text)", {"public.notes"}, "org");
  LoopbackDevice a("a", kDevice, kTables);
  world.sql.run("INSERT INTO notes VALUES ('nobody', 'x', NULL), ('k', 'y', 'one')");
  world.sync_as(a, "one");
  EXPECT_EQ(plain(a.peer, "SELECT * FROM notes"), "k|y\n");
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.outbox"), 0);
  world.sql.run("UPDATE notes SET org = 'one' WHERE id = 'nobody'; UPDATE notes SET org = NULL WHERE id = 'k'");
  world.sync_as(a, "one");
  EXPECT_EQ(plain(a.peer, "SELECT * FROM notes"), "nobody|x\n");
  world.sql.run("TRUNCATE notes");
  world.sync_as(a, "one");
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM notes"), 0);
  world.expect_sound();
}

TEST(PostgresTenants, ATableOfOneTenantIsUnknownToOthers) {
  PostgresWorld world("CREATE TABLE notes(id text PRIMARY KEY, body text)", {"public.notes"});  // of tenant main
  LoopbackDevice a("a", kDevice, kTables), b("b", kDevice, kTables);
  world.sql.run("INSERT INTO notes VALUES ('k', 'secret words')");
  b.peer.run("INSERT INTO notes VALUES ('k', 'x')");
  settle(world, {{&a, "main"}, {&b, "other"}});
  EXPECT_EQ(plain(a.peer, "SELECT * FROM notes"), "k|secret words\n");
  EXPECT_EQ(plain(b.peer, "SELECT * FROM notes"), "k|x\n");
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_rejections"), 1);
  EXPECT_EQ(world.sql.rows("SELECT * FROM notes"), "k|secret words\n");
  auto theirs = postgres::load_catalog(world.sql.connection(), "other");
  ASSERT_TRUE(theirs.ok());
  EXPECT_TRUE(theirs->tables.empty());
}

// ... also a table that is new. The partitions of the audit log are reached through it alone: they are their owner's.
TEST(PostgresTenants, EveryTableWithTenantsDataIsUnderRowSecurityForItsOwnerToo) {
  PostgresWorld world;
  world.sql.run(
      "DROP ROLE IF EXISTS rejoin_runtime; CREATE ROLE rejoin_runtime LOGIN; SELECT rejoin.audit_partitions()");
  ASSERT_TRUE(postgres::init(world.sql.connection(), "rejoin_runtime").ok());
  const std::string tables =
      "FROM pg_class AS c WHERE relnamespace = 'rejoin'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f') AND ";
  EXPECT_EQ(world.sql.rows("SELECT relname " + tables +
                           "NOT (relrowsecurity AND relforcerowsecurity) AND NOT relispartition ORDER BY 1"),
            "meta\ntracked\ntracked_column\n");
  EXPECT_GE(world.sql.number("SELECT count(*) " + tables + "relispartition"), 2);
  EXPECT_EQ(
      world.sql.rows("SELECT relname " + tables +
                     "relispartition AND EXISTS (SELECT FROM aclexplode(relacl) AS a WHERE a.grantee <> relowner)"),
      "");
  world.sql.run("DROP OWNED BY rejoin_runtime");
}

// The role that the server should run as: data only, under row-level security.
TEST(PostgresTenants, APlainRoleNeedsDataRightsOnlyAndSeesOneTenantAtATime) {
  PostgresWorld world("CREATE TABLE notes(id text, body text, org text, PRIMARY KEY (org, id))", {"public.notes"},
                      "org");
  world.sql.run(
      "DROP ROLE IF EXISTS rejoin_runtime; CREATE ROLE rejoin_runtime LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON "
      "notes TO rejoin_runtime");
  ASSERT_TRUE(postgres::init(world.sql.connection(), "rejoin_runtime").ok());
  const std::string owner = world.url;
  world.url = owner.substr(0, owner.find("user=")) + "user=rejoin_runtime";
  LoopbackDevice a("a", kDevice, kTables), a2("a2", kDevice, kTables), b("b", kDevice, kTables);
  const std::vector<std::pair<LoopbackDevice*, std::string>> all{{&a, "one"}, {&a2, "one"}, {&b, "two"}};
  a.peer.run("INSERT INTO notes VALUES ('k', 'of one')");
  b.peer.run("INSERT INTO notes VALUES ('k', 'of two')");
  world.sql.run("INSERT INTO notes VALUES ('sql', 'of two', 'two')");
  settle(world, all);
  a.options.page_bytes = a2.options.page_bytes = a.options.chunk_bytes = 2000;
  a.peer.run(
      "INSERT INTO notes SELECT 'n' || value, hex(zeroblob(50)) FROM (WITH RECURSIVE s(value) AS (VALUES(1) UNION ALL "
      "SELECT value + 1 FROM s WHERE value < 200) SELECT * FROM s)");
  settle(world, all);
  EXPECT_EQ(a2.peer.number("SELECT count(*) FROM notes"), 201);
  EXPECT_EQ(plain(b.peer, "SELECT * FROM notes ORDER BY id"), "k|of two\nsql|of two\n");
  world.sql.run("UPDATE notes SET body = 'waits' WHERE id = 'k'");  // an entry of each tenant in the outbox

  SqlClient runtime(world.url);
  EXPECT_EQ(runtime.attempt("CREATE TABLE rejoin.mine(x int)"), "42501");
  EXPECT_EQ(runtime.attempt("UPDATE rejoin.tracked SET name = 'x'"), "42501");
  EXPECT_EQ(runtime.attempt("DELETE FROM rejoin.tenant"), "42501");
  // Without a tenant: nothing.
  for (const char* table : {"record", "log", "site", "device", "outbox", "tenant", "contract", "stream", "staged"})
    EXPECT_EQ(runtime.number(std::string("SELECT count(*) FROM rejoin.") + table), 0) << table;
  for (const char* tenant : {"one", "two"}) {
    runtime.run("BEGIN");
    runtime.run(std::string("SELECT set_config('rejoin.tenant', '") + tenant + "', true)");
    runtime.run(
        "SELECT set_config('rejoin.tenant_id', (SELECT id::text FROM rejoin.tenant WHERE name = "
        "current_setting('rejoin.tenant')), true)");
    EXPECT_EQ(runtime.rows("SELECT DISTINCT tenant FROM rejoin.outbox"), std::string(tenant) + "\n");
    EXPECT_EQ(runtime.rows("SELECT name FROM rejoin.tenant"), std::string(tenant) + "\n");
    const int64_t records = tenant == std::string("one") ? 201 : 2;
    EXPECT_EQ(runtime.number("SELECT count(*) FROM rejoin.record"), records);
    EXPECT_GT(runtime.number("SELECT count(*) FROM rejoin.log"), 0);
    EXPECT_EQ(runtime.number("SELECT count(DISTINCT tenant) FROM rejoin.log"), 1);
    EXPECT_EQ(runtime.number("SELECT count(*) FROM rejoin.device"), tenant == std::string("one") ? 1 : 1);
    // Nor may it write as the other.
    runtime.run("ROLLBACK");
    const std::string as = std::string("BEGIN; SELECT set_config('rejoin.tenant', '") + tenant +
                           "', true), set_config('rejoin.tenant_id', '" + (tenant == std::string("one") ? "1" : "2") +
                           "', true); ";
    EXPECT_EQ(runtime.attempt(as + "INSERT INTO rejoin.record SELECT " + (tenant == std::string("one") ? "2" : "1") +
                              ", 1, '', ''; COMMIT"),
              "42501");
  }
  settle(world, all);
  EXPECT_EQ(plain(a2.peer, "SELECT body FROM notes WHERE id = 'k'"), "waits\n");
  world.expect_sound();
  world.sql.run("DROP OWNED BY rejoin_runtime");
}

}  // namespace
}  // namespace rejoin::testing
