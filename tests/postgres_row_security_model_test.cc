// Devices of several users, plain SQL, memberships, changing claims and rights, two servers, in random order: in the
// end every device has exactly the rows that its user sees, whole, and knows of no others.
#include <gtest/gtest.h>

#include <random>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kSchema =
    "CREATE TABLE members(list text, who text, PRIMARY KEY(list, who));"
    "CREATE TABLE todos(id text PRIMARY KEY, owner text, list text, title text, n integer CHECK (n < 100));"
    "CREATE FUNCTION caller() RETURNS text LANGUAGE sql STABLE AS $$ SELECT "
    "current_setting('request.jwt.claims', true)::json->>'sub' $$;"
    "CREATE TABLE broken(id text);"
    "CREATE FUNCTION sound(id text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN IF EXISTS (SELECT FROM broken "
    "b WHERE b.id = sound.id) THEN RAISE 'broken'; END IF; RETURN true; END $$;"
    "ALTER TABLE todos ENABLE ROW LEVEL SECURITY;"
    "CREATE POLICY own ON todos TO PUBLIC USING (sound(id) AND (owner = caller() OR EXISTS (SELECT FROM members m "
    "WHERE m.list = todos.list AND m.who = caller())));"
    "DO $$ DECLARE r text; BEGIN FOREACH r IN ARRAY ARRAY['rejoin_runtime', 'app_user'] LOOP IF EXISTS "
    "(SELECT FROM pg_roles WHERE rolname = r) THEN EXECUTE 'DROP OWNED BY ' || r; ELSE EXECUTE 'CREATE ROLE ' || r; "
    "END "
    "IF; END LOOP; END $$;"
    "ALTER ROLE rejoin_runtime LOGIN; GRANT app_user TO rejoin_runtime;"
    "GRANT SELECT, INSERT, UPDATE, DELETE ON todos, members, broken TO rejoin_runtime, app_user;"
    "CREATE POLICY server ON todos TO rejoin_runtime USING (true) WITH CHECK (true);";
const std::string kDevice = "CREATE TABLE todos(id TEXT PRIMARY KEY, owner TEXT, list TEXT, title TEXT, n INTEGER);";
const std::vector<std::string> kUsers = {"ann", "bob", "cem"};

struct World {
  World(uint32_t seed, bool policy_breaks) : random(seed), breaks(policy_breaks), world(kSchema, {"public.todos"}) {
    EXPECT_TRUE(postgres::init(world.sql.connection(), "rejoin_runtime").ok());
    world.url = world.url.substr(0, world.url.find("user=")) + "user=rejoin_runtime";
    world.as = {true, "", 0};
    for (int i = 0; i < 4; ++i) {
      devices.push_back(
          std::make_unique<LoopbackDevice>("d" + std::to_string(i), kDevice, std::vector<std::string>{"todos"}));
      if (i % 2) devices.back()->options.page_bytes = 1024;
      become(*devices.back(), static_cast<size_t>(i) % kUsers.size());
    }
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random() % n); }
  void become(LoopbackDevice& d, size_t user, sync::TableRight right = {}) {
    d.caller.who = {};
    if (!(right == sync::TableRight())) d.caller.who.tables.set("todos", right);
    d.caller.who.role = "app_user";
    d.caller.who.claims = "{\"sub\":\"" + kUsers[user] + "\"}";
    d.caller.who.view = user + 1 + (right.pull ? 0 : 10) + (right.push ? 0 : 20);
  }
  std::string user() { return kUsers[below(3)]; }
  std::string id() { return "t" + std::to_string(below(12)); }
  std::string list() { return "l" + std::to_string(below(3)); }

  void step() {
    LoopbackDevice& d = *devices[below(4)];
    const std::string row = "'" + id() + "', '" + user() + "', '" + list() + "', 'x" + std::to_string(below(1000)) +
                            "', " + std::to_string(below(105));
    d.peer.clock().set(std::max(d.peer.clock().now_ms(), system_clock().now_ms()) + 10);
    if (breaks && below(8) == 0) {
      // The policy fails for one row, or it is mended.
      world.sql.run(below(2) ? "INSERT INTO broken VALUES('" + id() + "')" : "DELETE FROM broken");
      return;
    }
    switch (below(12)) {
      case 0:
      case 1:
        d.peer.attempt("INSERT INTO todos VALUES(" + row + ")");
        break;
      case 2:
        d.peer.run("UPDATE todos SET title='y" + std::to_string(below(1000)) + "', n=" + std::to_string(below(105)) +
                   " WHERE id='" + id() + "'");
        break;
      case 3:
        d.peer.run("DELETE FROM todos WHERE id='" + id() + "'");
        break;
      case 4:
        d.peer.run("UPDATE todos SET owner='" + user() + "', list='" + list() + "' WHERE id='" + id() + "'");
        break;
      case 5:
        world.sql.attempt("INSERT INTO todos VALUES(" + row + ")");
        break;
      case 6:
        world.sql.run("UPDATE todos SET owner = '" + user() + "', list = '" + list() + "' WHERE id = '" + id() + "'");
        break;
      case 7:
        world.sql.run("DELETE FROM todos WHERE id = '" + id() + "'");
        break;
      case 8:
        world.sql.attempt("INSERT INTO members VALUES('" + list() + "', '" + user() + "')");
        break;
      case 9:
        world.sql.run("DELETE FROM members WHERE who = '" + user() + "' AND list = '" + list() + "'");
        break;
      case 10:
        if (below(3) == 0) become(d, below(3), {below(4) > 0, below(4) > 0});
        break;
      default:
        sync(d);
    }
  }

  // All is sent, what was refused is given up, everybody has heard of everything.
  void settle() {
    world.sql.run("DELETE FROM broken");
    for (int i = 0; i < 4; ++i)
      for (auto& d : devices) {
        d->peer.clock().set(std::max(d->peer.clock().now_ms(), system_clock().now_ms()) + 10);
        sync(*d);
        auto given_up = d->peer.rejoin().discard_all();
        EXPECT_TRUE(given_up.ok()) << (given_up.ok() ? "" : given_up.error().message);
      }
    for (auto& d : devices) sync(*d);
  }

  // Two nodes on one PostgreSQL.
  void sync(LoopbackDevice& d) { d.must_sync(world.server(below(2) ? "main" : "main#2")); }

  void check() {
    for (auto& d : devices) {
      const sync::TableRight right = d->caller.who.tables.of("todos");
      if (!right.pull && right.push) continue;  // keeps its own
      const std::string truth =
          !right.pull ? std::string()
                      : world.sql.rows(
                            "SELECT id, owner, list, coalesce(title, 'null') AS t, coalesce(n::text, 'null') AS n FROM "
                            "todos WHERE owner = '" +
                            user_of(*d) + "' OR EXISTS (SELECT FROM members m WHERE m.list = todos.list AND m.who = '" +
                            user_of(*d) + "') ORDER BY id");
      std::string has = d->peer.rows(
          "SELECT id, owner, list, coalesce(title, 'null'), coalesce(cast(n AS text), 'null') FROM todos ORDER BY id");
      std::erase(has, '\'');
      EXPECT_EQ(difference(has, truth), "") << user_of(*d);
      EXPECT_EQ(d->peer.rows("SELECT key, reason FROM rejoin_rejections"), "");
      EXPECT_EQ(d->peer.rows("SELECT k FROM rejoin_evicted"), "");
      d->peer.expect_sound();
    }
    world.expect_sound();
  }
  static std::string user_of(const LoopbackDevice& d) { return kUsers[(d.caller.who.view - 1) % 10]; }

  std::mt19937 random;
  bool breaks = false;  // the policy fails at times
  PostgresWorld world;
  std::vector<std::unique_ptr<LoopbackDevice>> devices;
};

class PostgresRowSecurityModel : public ::testing::TestWithParam<std::pair<uint32_t, bool>> {};

TEST_P(PostgresRowSecurityModel, EveryDeviceHasWhatItsUserSees) {
  World run(GetParam().first, GetParam().second);
  for (int round = 0; round < 3 && !::testing::Test::HasFailure(); ++round) {
    for (int i = 0; i < 60; ++i) run.step();
    run.settle();
    run.check();
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, PostgresRowSecurityModel,
                         ::testing::Values(std::pair{1u, false}, std::pair{19u, false}, std::pair{58u, false},
                                           std::pair{88u, false}, std::pair{3u, true}, std::pair{4u, true}));

}  // namespace
}  // namespace rejoin::testing
