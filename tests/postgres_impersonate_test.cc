// With --impersonate PostgreSQL itself decides what a device's push may write: the caller's role, its claims, its
// policies and grants. What it does not take is refused row by row; everything of Rejoin's own stays out of its reach.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kSchema =
    "CREATE TABLE todos(id text PRIMARY KEY, owner text, title text, n integer CHECK (n < 10));"
    "ALTER TABLE todos ENABLE ROW LEVEL SECURITY;"
    "CREATE POLICY own ON todos FOR ALL TO PUBLIC USING (owner = current_setting('request.jwt.claims', "
    "true)::json->>'sub');"
    "CREATE TABLE audit(id text PRIMARY KEY, line text, who text DEFAULT current_user);"
    "CREATE TABLE parts(id text PRIMARY KEY, todo text REFERENCES todos(id) DEFERRABLE INITIALLY DEFERRED);"
    "CREATE TABLE seats(id text PRIMARY KEY, seat text UNIQUE); ALTER TABLE seats ENABLE ROW LEVEL SECURITY;"
    "CREATE POLICY everyone ON seats TO PUBLIC USING (true);";
const std::string kRoles =
    "DO $$ DECLARE r text; BEGIN FOREACH r IN ARRAY ARRAY['rejoin_runtime', 'app_user', 'app_reader', 'app_stranger', "
    "'app_root', 'app_bypass', 'app_owner', 'app_heir'] LOOP IF EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN "
    "EXECUTE 'DROP OWNED BY ' || r; ELSE EXECUTE 'CREATE ROLE ' || r; END IF; END LOOP; END $$;"
    "ALTER ROLE rejoin_runtime LOGIN; ALTER ROLE app_root SUPERUSER; ALTER ROLE app_bypass BYPASSRLS;"
    "GRANT app_user, app_reader, app_root, app_bypass, app_owner, app_heir TO rejoin_runtime;"
    "GRANT app_owner TO app_heir;"
    "GRANT SELECT, INSERT, UPDATE, DELETE ON todos, audit, parts, seats TO rejoin_runtime, app_user;"
    "GRANT SELECT ON todos TO app_reader;"
    "CREATE TABLE owned(id text PRIMARY KEY); ALTER TABLE owned OWNER TO app_owner;"
    "CREATE POLICY server ON todos TO rejoin_runtime USING (true) WITH CHECK (true);";
const std::string kDevice =
    "CREATE TABLE todos(id TEXT PRIMARY KEY, owner TEXT, title TEXT, n INTEGER);"
    "CREATE TABLE audit(id TEXT PRIMARY KEY, line TEXT, who TEXT);"
    "CREATE TABLE parts(id TEXT PRIMARY KEY, todo TEXT);"
    "CREATE TABLE seats(id TEXT PRIMARY KEY, seat TEXT);";
const std::vector<std::string> kTables = {"todos", "audit", "parts", "seats"};

class PostgresImpersonate : public ::testing::Test {
 protected:
  PostgresImpersonate()
      : world(kSchema + kRoles, {"public.todos", "public.audit", "public.parts", "public.seats"}),
        ann("ann", kDevice, kTables),
        bob("bob", kDevice, kTables) {
    EXPECT_TRUE(postgres::init(world.sql.connection(), "rejoin_runtime").ok());
    world.track("public.owned");
    world.url = world.url.substr(0, world.url.find("user=")) + "user=rejoin_runtime";
    world.as = {true, "", 0};
    be(ann, "app_user", "ann", 1);
    be(bob, "app_user", "bob", 2);
  }
  static void be(LoopbackDevice& d, const std::string& role, const std::string& sub, uint64_t view) {
    d.caller.who.role = role;
    d.caller.who.claims = "{\"sub\":\"" + sub + "\",\"role\":\"" + role + "\"}";
    d.caller.who.view = view;
  }
  // Later than anything that was written with SQL before.
  void write(LoopbackDevice& d, const std::string& sql) {
    d.peer.clock().set(system_clock().now_ms() + 1'000);
    d.peer.run(sql);
  }
  std::string listed(LoopbackDevice& d) {
    return d.peer.rows("SELECT key, code, server FROM rejoin_rejections ORDER BY key");
  }
  Error failure(LoopbackDevice& d) {
    d.peer.clock().set(system_clock().now_ms());
    const sync::Done done = d.sync(world.server());
    return done.error.value_or(Error{Code::ok, ""});
  }
  PostgresWorld world;
  LoopbackDevice ann, bob;
};

TEST_F(PostgresImpersonate, RowsAreWrittenUnderTheCallersRoleAndClaims) {
  ann.peer.run("INSERT INTO todos VALUES('a', 'ann', 'mine', 1); INSERT INTO audit VALUES('x', 'hello', NULL)");
  world.sql.run("ALTER TABLE audit ALTER who SET NOT NULL");
  world.sync(ann);
  EXPECT_EQ(listed(ann), "");
  EXPECT_EQ(world.sql.rows("SELECT owner, title FROM todos"), "ann|mine\n");
  EXPECT_EQ(world.sql.rows("SELECT who FROM audit"), "app_user\n");
  ann.peer.run("UPDATE todos SET title='changed'");
  world.sync(ann);
  ann.peer.run("DELETE FROM todos");
  world.sync(ann);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), 0);
  EXPECT_EQ(listed(ann), "");
  world.expect_sound();
}

TEST_F(PostgresImpersonate, WhatAPolicyRefusesIsRefusedRowByRow) {
  ann.peer.run("INSERT INTO todos VALUES('a', 'ann', 'mine', 1), ('b', 'bob', 'not mine', 1), ('c', 'ann', 'too', 99)");
  world.sync(ann);
  EXPECT_EQ(listed(ann), "'[\"b\"]'|'forbidden'|'null'\n'[\"c\"]'|'refused'|'null'\n");
  EXPECT_EQ(world.sql.rows("SELECT id FROM todos"), "a\n");
  EXPECT_EQ(*ann.peer.rejoin().discard_all(), 2);
  world.sync(ann);
  EXPECT_EQ(ann.peer.rows("SELECT id FROM todos"), "'a'\n");
  world.expect_sound();
}

// UPDATE and DELETE of a row that the policy hides say nothing in PostgreSQL. The answer is that of any other refusal.
TEST_F(PostgresImpersonate, WritesToHiddenRowsAreRefusedAndTellNothing) {
  world.sql.run("INSERT INTO todos VALUES('b', 'bob', 'secret', 1)");
  write(ann, "INSERT INTO todos VALUES('b', 'ann', 'taken over', 1), ('new', 'bob', 'forged', 1)");
  world.sync(ann);
  const std::string reasons = ann.peer.rows("SELECT DISTINCT code, reason, server FROM rejoin_rejections");
  EXPECT_EQ(std::count(reasons.begin(), reasons.end(), '\n'), 1) << reasons;
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM rejoin_rejections"), 2);
  EXPECT_EQ(reasons.find("secret"), std::string::npos);
  write(ann, "DELETE FROM todos WHERE id='b'");
  world.sync(ann);
  EXPECT_EQ(world.sql.rows("SELECT * FROM todos"), "b|bob|secret|1\n");
  EXPECT_EQ(ann.peer.number("SELECT count(*) FROM rejoin_rejections"), 2);
  world.expect_sound();
}

TEST_F(PostgresImpersonate, ADeletedRowOfAnotherCannotBeEditedForItsRestore) {
  bob.peer.run("INSERT INTO todos VALUES('b', 'bob', 'mine', 1)");
  world.sync(bob);
  bob.peer.run("DELETE FROM todos");
  world.sync(bob);
  // A device that knows the row from elsewhere.
  ann.peer.fetch(bob.peer);
  ann.peer.run("INSERT INTO todos VALUES('b', 'ann', 'hers', 1); UPDATE todos SET title='stolen'; DELETE FROM todos");
  world.sync(ann);
  ASSERT_TRUE(bob.peer.restore("todos", {sim::Value::text("b")}));
  world.sync(bob);
  EXPECT_EQ(world.sql.rows("SELECT owner, title FROM todos"), "bob|mine\n");
}

// What a row was changed to before it was deleted is judged too, for it shows again when the row is restored.
TEST_F(PostgresImpersonate, AnEditThatWentBeforeADeletionIsJudged) {
  world.sql.run("CREATE POLICY open ON todos USING (title = 'open') WITH CHECK (false)");
  bob.peer.run("INSERT INTO todos VALUES('b', 'bob', 'mine', 1), ('c', 'bob', 'too', 1)");
  world.sync(bob);
  write(bob, "UPDATE todos SET title='changed' WHERE id='b'; UPDATE todos SET n=50 WHERE id='c'; DELETE FROM todos");
  world.sync(bob);
  EXPECT_EQ(world.sql.rows("SELECT id, n FROM todos"), "c|1\n");
  EXPECT_EQ(bob.peer.rows("SELECT key, code FROM rejoin_rejections"), "'[\"c\"]'|'refused'\n");
  ASSERT_TRUE(bob.peer.restore("todos", {sim::Value::text("b")}));
  world.sync(bob);
  EXPECT_EQ(world.sql.rows("SELECT title FROM todos WHERE id = 'b'"), "changed\n");
  // Another's row, which she sees and may delete, but not write.
  world.sql.run("UPDATE todos SET title = 'open' WHERE id = 'b'");
  world.sync(ann);
  EXPECT_EQ(ann.peer.rows("SELECT title FROM todos"), "'open'\n");
  write(ann, "UPDATE todos SET title='planted' WHERE id='b'; DELETE FROM todos");
  world.sync(ann);
  EXPECT_EQ(world.sql.rows("SELECT title FROM todos WHERE id = 'b'"), "open\n");
  EXPECT_EQ(*ann.peer.rejoin().discard_all(), 1);
  EXPECT_EQ(ann.peer.rows("SELECT title FROM todos"), "'open'\n");
  ann.peer.run("DELETE FROM todos");
  world.sync(ann);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos WHERE id = 'b'"), 0);
  world.expect_sound();
}

// Nothing can be laid down for a row that another is going to make.
TEST_F(PostgresImpersonate, NothingIsPlantedForARowThatIsNotBornYet) {
  LoopbackDevice forger("forger", kDevice, kTables);
  be(forger, "app_user", "eve", 7);
  forger.peer.clock().set(system_clock().now_ms() + 60'000);
  forger.peer.run("INSERT INTO todos VALUES('k', 'ann', 'planted', 1)");
  const int64_t born = forger.peer.seq();
  forger.peer.run("UPDATE todos SET title='planted later'");
  // Its edit without its birth.
  Peer other(kDevice, kTables);
  other.clock().set(system_clock().now_ms());
  other.apply(forger.peer.changeset(born));
  LoopbackDevice eve("eve", kDevice, kTables);
  be(eve, "app_user", "eve", 7);
  eve.caller.may_relay = true;
  for (int i = 0; i < 2; ++i) {
    eve.peer.clock().set(system_clock().now_ms() + 60'000);
    eve.peer.fetch(other);
    eve.must_sync(world.server());
  }
  EXPECT_EQ(eve.peer.number("SELECT count(*) FROM rejoin_rejections WHERE code = 'forbidden'"), 1);
  ann.peer.run("INSERT INTO todos VALUES('k', 'ann', 'hers', 1)");
  world.sync(ann);
  EXPECT_EQ(world.sql.rows("SELECT title FROM todos"), "hers\n");
}

TEST_F(PostgresImpersonate, AServerThatRowSecurityBlindsSaysSo) {
  world.sql.run("DROP POLICY server ON todos");
  ann.peer.run("INSERT INTO audit VALUES('x', 'hello', NULL)");
  const Error error = failure(ann);
  EXPECT_EQ(error.code, Code::forbidden);
  EXPECT_NE(error.message.find("CREATE POLICY rejoin ON todos TO \"rejoin_runtime\""), std::string::npos)
      << error.message;
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM audit"), 0);
}

// The caller's row is refused, and what it may see of the server's is told.
TEST_F(PostgresImpersonate, GrantsHoldAndAVisibleRowIsTold) {
  world.sql.run("INSERT INTO todos VALUES('a', 'ann', 'hers', 1)");
  be(ann, "app_reader", "ann", 3);
  write(ann, "INSERT INTO todos VALUES('a', 'ann', 'changed', 2)");
  world.sync(ann);
  EXPECT_EQ(listed(ann), "'[\"a\"]'|'forbidden'|'{\"id\":\"a\",\"owner\":\"ann\",\"title\":\"hers\",\"n\":1}'\n");
  EXPECT_EQ(*ann.peer.rejoin().discard_all(), 1);
  EXPECT_EQ(ann.peer.rows("SELECT * FROM todos"), "'a'|'ann'|'hers'|1\n");
  world.expect_sound();
}

TEST_F(PostgresImpersonate, DeferredConstraintsAreJudgedWithinThePush) {
  ann.peer.run(
      "INSERT INTO parts VALUES('p', 'a'), ('q', 'nowhere'); INSERT INTO todos VALUES('a', 'ann', 'parent', 1)");
  world.sync(ann);
  EXPECT_EQ(listed(ann), "'[\"q\"]'|'refused'|'null'\n");
  EXPECT_EQ(world.sql.rows("SELECT id FROM parts"), "p\n");
  world.expect_sound();
}

TEST_F(PostgresImpersonate, NoTokenChoosesARoleAboveRowLevelSecurity) {
  for (const char* role :
       {"app_root", "app_bypass", "app_owner", "app_heir", "rejoin_runtime", "tester", "none", "NONE",
        "pg_read_all_data", "no_such_role", "app_stranger", "app_user\"; RESET ROLE; --", ""}) {
    LoopbackDevice d(std::string("d ") + role, kDevice, kTables);
    be(d, role, "ann", 9);
    d.peer.run("INSERT INTO audit VALUES('" + std::to_string(std::hash<std::string>()(role)) + "', 'x', NULL)");
    const Error error = failure(d);
    EXPECT_EQ(error.code, Code::forbidden) << role << ": " << error.message;
    if (std::string(role) == "app_stranger") {
      EXPECT_NE(error.message.find("GRANT \"app_stranger\""), std::string::npos) << error.message;
    }
  }
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM audit"), 0);
}

TEST_F(PostgresImpersonate, TokensWithoutARoleActAsTheDefaultOne) {
  world.as.default_role = "app_user";
  be(ann, "", "ann", 1);
  ann.peer.run("INSERT INTO todos VALUES('a', 'ann', 'mine', 1)");
  world.sync(ann);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), 1);
}

// The role has no rights on Rejoin's schema, and needs none.
TEST_F(PostgresImpersonate, TheRoleReachesNothingOfRejoins) {
  EXPECT_EQ(world.sql.rows("SELECT has_schema_privilege('app_user', 'rejoin', 'USAGE')"), "false\n");
  ann.peer.run("INSERT INTO todos VALUES('a', 'ann', 'mine', 1)");
  world.sync(ann);
  // Its direct writes are captured all the same.
  world.sql.run(
      "BEGIN; SET LOCAL ROLE app_user; SELECT set_config('request.jwt.claims', '{\"sub\":\"ann\"}', true);"
      "UPDATE todos SET title = 'direct'; COMMIT");
  world.sync(ann);
  EXPECT_EQ(ann.peer.rows("SELECT title FROM todos"), "'direct'\n");
  world.expect_sound();
}

// PostgreSQL does not say which value is taken, where a policy might hide its row.
TEST_F(PostgresImpersonate, ASwapIsTakenBesideAValueThatIsTakenThoughNoErrorNamesIt) {
  write(ann, "INSERT INTO seats VALUES('1', 'a'), ('2', 'c'), ('3', 'b')");
  world.sync(ann);
  world.sql.run("INSERT INTO seats VALUES('0', 'z')");
  write(ann, "UPDATE seats SET seat = CASE id WHEN '1' THEN 'b' WHEN '2' THEN 'z' ELSE 'a' END");
  world.sync(ann);
  EXPECT_EQ(ann.peer.rows("SELECT key FROM rejoin_rejections"), "'[\"2\"]'\n");
  EXPECT_EQ(world.sql.rows("SELECT * FROM seats ORDER BY id"), "0|z\n1|b\n2|c\n3|a\n");
}

}  // namespace
}  // namespace rejoin::testing
