// A push first hopes that nobody else writes its rows, that the new ones are new, and that all are stored as they were
// sent: then it takes few round trips. When it is otherwise, the outcome is the same.
#include <gtest/gtest.h>

#include <thread>

#include "tests/support/postgres_loopback.h"
#include "tests/support/pushing_device.h"

namespace rejoin::testing {
namespace {

const std::string kDeviceTable = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, made TEXT);";
const std::string kAll = "SELECT id, title, made FROM todos ORDER BY id";

class PostgresHopes : public ::testing::Test {
 protected:
  explicit PostgresHopes(const std::string& columns = "id text PRIMARY KEY, title text, made text")
      : world("CREATE TABLE todos(" + columns + ")", {"public.todos"}) {
    auto opened = postgres::Connection::open(world.url);
    EXPECT_TRUE(opened.ok());
    db = std::move(*opened);
    store = postgres::make_tenant_store(*db, tenant, false);
  }
  // Of a push that is taken whole, the round trips.
  uint64_t push(PushingDevice& d) {
    const uint64_t before = db->round_trips();
    auto reply = store->push(d.request());
    EXPECT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_TRUE(reply->outcome.refused.empty()) << reply->outcome.refused[0].reason;
    d.token = reply->next_chain_token;
    return db->round_trips() - before;
  }
  PostgresWorld world;
  std::unique_ptr<postgres::Connection> db;
  postgres::Tenant tenant{"main", system_clock(), system_random()};
  std::unique_ptr<postgres::TenantStore> store;
  PushingDevice a{"a", kDeviceTable}, b{"b", kDeviceTable};
};

TEST_F(PostgresHopes, TheRoundTripsOfThePage) {
  a.write("makes the tenant and reads the catalog");
  push(a);
  a.write("new"), a.write("new too");
  EXPECT_EQ(push(a), 3u);
  a.peer.run("UPDATE todos SET title = 'changed'; INSERT INTO todos(id) VALUES ('x')");
  EXPECT_EQ(push(a), 4u);
  a.peer.run("DELETE FROM todos WHERE id = 'a1'; UPDATE todos SET made = 'now' WHERE id = 'a2'");
  EXPECT_EQ(push(a), 4u);
  EXPECT_EQ(world.sql.rows(kAll), "a2|changed|now\na3|changed|null\nx|null|null\n");
  world.expect_sound();
}

// A row that is told to be new is known, as one that was deleted.
TEST_F(PostgresHopes, ARowThatIsNotNew) {
  a.write("first"), a.write("stays");
  push(a);
  a.peer.run("DELETE FROM todos WHERE id = 'a1'");
  push(a);
  b.peer.clock().set(system_clock().now_ms() + 50);
  b.peer.run("INSERT INTO todos VALUES ('a1', 'anew', 'b'), ('b1', 'really', 'b')");
  push(b);
  EXPECT_EQ(world.sql.rows(kAll), "a1|anew|b\na2|stays|null\nb1|really|b\n");
  b.peer.run("INSERT INTO todos VALUES ('a2', 'later', 'b')");
  push(b);
  EXPECT_EQ(world.sql.rows(kAll), "a1|anew|b\na2|later|b\nb1|really|b\n");
  world.expect_sound();
}

// What was captured but not folded when the rows were joined.
TEST_F(PostgresHopes, OthersWriteWhileThePushWaitsForTheirRow) {
  a.write("first"), a.write("other");
  push(a);
  for (const std::string what :
       {"UPDATE todos SET made = 'sql' WHERE id = 'a1'", "DELETE FROM todos WHERE id = 'a1'",
        "INSERT INTO todos VALUES ('new', 'sql', 'sql')", "INSERT INTO todos VALUES ('gone', 'sql', 'sql')"}) {
    SqlClient direct(world.url);
    direct.run("BEGIN; " + what);
    if (what.find("gone") != std::string::npos) direct.run("DELETE FROM todos WHERE id = 'gone'");
    a.peer.clock().set(system_clock().now_ms());
    a.peer.run("UPDATE todos SET title = title || '+' WHERE id = 'a1'");
    if (what.find("INSERT") != std::string::npos)
      a.peer.run("INSERT INTO todos SELECT column1, 'device', NULL FROM (VALUES ('new'), ('gone')) WHERE column1 = '" +
                 std::string(what.find("gone") != std::string::npos ? "gone" : "new") + "'");
    std::thread pushes([&] { push(a); });
    while (world.sql.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                            "wait_event_type = 'Lock'") == 0)
      std::this_thread::yield();
    direct.run("COMMIT");
    pushes.join();
  }
  LoopbackDevice reader("reader", kDeviceTable, {"todos"});
  world.sync(reader);
  world.sync(reader);
  EXPECT_EQ(reader.peer.rows("SELECT id FROM todos ORDER BY id"), "'a2'\n'gone'\n'new'\n");
  std::string shown = reader.peer.rows(kAll);
  std::erase(shown, '\'');
  EXPECT_EQ(shown, world.sql.rows(kAll));
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.outbox"), 0);
  world.expect_sound();
}

class PostgresFilledIn : public PostgresHopes {
 protected:
  PostgresFilledIn()
      : PostgresHopes("id text PRIMARY KEY, title varchar(40), made text NOT NULL DEFAULT 'by the server'") {}
};

TEST_F(PostgresFilledIn, NewRowsWhoseColumnsPostgresFillsIn) {
  a.write("makes the tenant");
  push(a);
  a.peer.run("INSERT INTO todos VALUES ('x', 'sent whole', 'device'), ('y', 'filled', NULL), ('z', 'filled', NULL)");
  EXPECT_EQ(push(a), 3u);
  EXPECT_EQ(world.sql.rows("SELECT id, made FROM todos WHERE id > 'w' ORDER BY id"),
            "x|device\ny|by the server\nz|by the server\n");
  // They are the server's writes, and reach devices as such.
  LoopbackDevice reader("reader", kDeviceTable, {"todos"});
  world.sync(reader);
  EXPECT_EQ(reader.peer.rows("SELECT id, made FROM todos WHERE id > 'w' ORDER BY id"),
            "'x'|'device'\n'y'|'by the server'\n'z'|'by the server'\n");
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.record"), 4);
  world.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
