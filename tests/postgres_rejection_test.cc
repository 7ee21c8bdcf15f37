// P2, P9: what PostgreSQL refuses of a device's rows, and what becomes of it on the device when it is discarded.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kSchema =
    "CREATE TABLE list(id text PRIMARY KEY, name text);"
    "CREATE TABLE item(id text PRIMARY KEY, list text REFERENCES list(id), name text UNIQUE, n integer CHECK (n < 10));"
    "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.name = 'kept' THEN RAISE 'it is kept'; "
    "END IF; RETURN OLD; END $$; CREATE TRIGGER keep BEFORE DELETE ON item FOR EACH ROW EXECUTE FUNCTION keep();";
const std::string kDevice =
    "CREATE TABLE list(id TEXT PRIMARY KEY, name TEXT);"
    "CREATE TABLE item(id TEXT PRIMARY KEY, list TEXT, name TEXT, n INTEGER)";

class PostgresRejection : public ::testing::Test {
 protected:
  PostgresRejection()
      : world(kSchema, {"public.list", "public.item"}),
        a("a", kDevice, {"list", "item"}),
        b("b", kDevice, {"list", "item"}) {}
  void settle() {
    for (int i = 0; i < 2; ++i) world.sync(a), world.sync(b);
  }
  std::string listed(LoopbackDevice& d) {
    return d.peer.rows("SELECT key, server FROM rejoin_rejections ORDER BY key");
  }
  std::string items(LoopbackDevice& d) { return d.peer.rows("SELECT * FROM item ORDER BY id"); }
  void expect_same() {
    EXPECT_EQ(items(a), items(b));
    a.peer.expect_sound(), b.peer.expect_sound();
    world.expect_sound();
  }
  PostgresWorld world;
  LoopbackDevice a, b;
};

TEST_F(PostgresRejection, ARefusedInsertLeavesTheDeviceAndTheRestOfTheQueueGoesOn) {
  a.peer.run("INSERT INTO item VALUES('i', 'nowhere', 'milk', 1), ('j', NULL, 'bread', 1), ('k', NULL, 'beer', 99)");
  world.sync(a);
  EXPECT_EQ(listed(a), "'[\"i\"]'|'null'\n'[\"k\"]'|'null'\n");
  EXPECT_EQ(*a.peer.rejoin().discard_all(), 2);
  settle();
  EXPECT_EQ(items(a), "'j'|null|'bread'|1\n");
  EXPECT_EQ(listed(a), "");
  expect_same();
}

TEST_F(PostgresRejection, ARefusedUpdateGivesWayToTheServersValueEvenIfThatIsOlder) {
  a.peer.run("INSERT INTO item VALUES('i', NULL, 'milk', 1)");
  settle();
  a.peer.run("UPDATE item SET n=50, name='cream'");
  world.sync(a);
  EXPECT_EQ(listed(a), "'[\"i\"]'|'{\"id\":\"i\",\"list\":null,\"name\":\"milk\",\"n\":1}'\n");
  // Somebody edits it with plain SQL before the device gives in.
  world.sql.run("UPDATE item SET name = 'oat milk'");
  world.sync(a);
  EXPECT_EQ(listed(a), "'[\"i\"]'|'{\"id\":\"i\",\"list\":null,\"name\":\"oat milk\",\"n\":1}'\n");
  EXPECT_EQ(*a.peer.rejoin().discard_all(), 1);
  EXPECT_EQ(items(a), "'i'|null|'oat milk'|1\n");
  settle();
  expect_same();
  a.peer.run("UPDATE item SET n=2");
  settle();
  EXPECT_EQ(world.sql.rows("SELECT name, n FROM item"), "oat milk|2\n");
  expect_same();
}

TEST_F(PostgresRejection, ARefusedDeletionBringsTheRowBackWhole) {
  a.peer.run("INSERT INTO item VALUES('i', NULL, 'kept', 1), ('j', NULL, 'free', 1)");
  settle();
  a.peer.run("DELETE FROM item");
  world.sync(a);
  EXPECT_EQ(listed(a), "'[\"i\"]'|'{\"id\":\"i\",\"list\":null,\"name\":\"kept\",\"n\":1}'\n");
  b.peer.run("UPDATE item SET n=3 WHERE id='i'");
  settle();
  EXPECT_EQ(items(a), "");
  EXPECT_EQ(*a.peer.rejoin().discard_all(), 1);
  EXPECT_EQ(items(a), "'i'|null|'kept'|3\n");
  settle();
  EXPECT_EQ(items(a), "'i'|null|'kept'|3\n");
  expect_same();
}

TEST_F(PostgresRejection, AReinsertionThatIsRefusedLeavesTheRowDeadWithItsLastValues) {
  a.peer.run("INSERT INTO item VALUES('i', NULL, 'milk', 1)");
  settle();
  b.peer.run("DELETE FROM item");
  settle();
  a.peer.run("INSERT INTO item VALUES('i', NULL, 'milk', 77)");
  world.sync(a);
  EXPECT_EQ(listed(a), "'[\"i\"]'|'null'\n");
  EXPECT_EQ(*a.peer.rejoin().discard_all(), 1);
  EXPECT_EQ(items(a), "");
  ASSERT_TRUE(a.peer.restore("item", {sim::Value::text("i")}));
  settle();
  EXPECT_EQ(items(b), "'i'|null|'milk'|1\n");
  expect_same();
}

// A repeated push gets the same answer, the server's values included.
TEST_F(PostgresRejection, ALostAnswerChangesNothing) {
  a.fault = [](uint64_t n) { return n == 1 ? Fault::lose_response : Fault::none; };
  a.peer.run("INSERT INTO item VALUES('i', NULL, 'milk', 1)");
  settle();
  a.peer.run("UPDATE item SET n=50");
  a.fault = [](uint64_t n) { return n == 0 ? Fault::lose_response : Fault::none; };
  world.sync(a);
  a.fault = {};
  EXPECT_EQ(listed(a), "'[\"i\"]'|'{\"id\":\"i\",\"list\":null,\"name\":\"milk\",\"n\":1}'\n");
  EXPECT_EQ(*a.peer.rejoin().discard_all(), 1);
  settle();
  EXPECT_EQ(items(a), "'i'|null|'milk'|1\n");
  expect_same();
}

}  // namespace
}  // namespace rejoin::testing
