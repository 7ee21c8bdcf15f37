// P9: a row that PostgreSQL refused for want of something is taken when that is there, without anybody touching the
// row.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kSchema =
    "CREATE TABLE list(id text PRIMARY KEY, name text);"
    "CREATE TABLE item(id text PRIMARY KEY, list text REFERENCES list(id), name text UNIQUE)";
const std::string kDevice =
    "CREATE TABLE list(id TEXT PRIMARY KEY, name TEXT); CREATE TABLE item(id TEXT PRIMARY KEY, list TEXT, name TEXT)";

class PostgresRetry : public ::testing::Test {
 protected:
  PostgresRetry()
      : world(kSchema, {"public.list", "public.item"}),
        a("a", kDevice, {"list", "item"}),
        b("b", kDevice, {"list", "item"}) {}
  int64_t listed(LoopbackDevice& d) { return d.peer.number("SELECT count(*) FROM rejoin_rejections"); }
  PostgresWorld world;
  LoopbackDevice a, b;
};

TEST_F(PostgresRetry, AChildWaitsForAParentOfAnotherDevice) {
  a.peer.run("INSERT INTO item VALUES('i', 'l', 'milk')");
  world.sync(a);
  EXPECT_EQ(listed(a), 1);
  EXPECT_EQ(a.peer.rows("SELECT code FROM rejoin_rejections"), "'refused'\n");
  b.peer.run("INSERT INTO list VALUES('l', 'shopping')");
  world.sync(b);
  world.sync(a);
  EXPECT_EQ(listed(a), 1);  // not with every sync
  a.peer.clock().set(system_clock().now_ms() + 11 * 60 * 1000);
  a.must_sync(world.server());
  EXPECT_EQ(listed(a), 0);
  world.sync(b);
  EXPECT_EQ(b.peer.rows("SELECT * FROM item"), "'i'|'l'|'milk'\n");
  world.expect_sound();
}

TEST_F(PostgresRetry, RejoinRetryDoesNotWait) {
  world.sql.run("INSERT INTO list VALUES('l', 'shopping')");
  a.peer.run("INSERT INTO item VALUES('i', 'l', 'milk'), ('j', 'l', 'milk'), ('k', 'l', 'bread')");
  world.sync(a);
  EXPECT_EQ(listed(a), 1);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM item"), 2);
  world.sql.run("DELETE FROM item WHERE name = 'milk'");
  EXPECT_EQ(*a.peer.rejoin().retry(), 1);
  world.sync(a);
  EXPECT_EQ(listed(a), 0);
  world.sync(b), world.sync(a);
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM item"), 2);
  EXPECT_EQ(a.peer.rows("SELECT name FROM item ORDER BY name"), "'bread'\n'milk'\n");
  EXPECT_EQ(*a.peer.rejoin().retry(), 0);
  world.expect_sound();
}

// Order within one push does not matter, whatever the order of the tables.
TEST_F(PostgresRetry, AChildThatComesWithItsParentIsTaken) {
  a.peer.run("INSERT INTO item VALUES('i', 'l', 'milk'); INSERT INTO list VALUES('l', 'shopping')");
  world.sync(a);
  EXPECT_EQ(listed(a), 0);
  a.peer.run("DELETE FROM list; DELETE FROM item");
  world.sync(a);
  EXPECT_EQ(listed(a), 0);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM list") + world.sql.number("SELECT count(*) FROM item"), 0);
  world.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
