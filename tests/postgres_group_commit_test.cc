// Pushes that are written together are answered and stored as if each had come alone: what is wrong with one of them is
// nothing to the others.
#include <gtest/gtest.h>

#include "sync/chain.h"
#include "tests/support/postgres_loopback.h"
#include "tests/support/pushing_device.h"

namespace rejoin::testing {
namespace {

const std::string kTable = "CREATE TABLE todos(id text PRIMARY KEY, title text CHECK (title <> 'bad'))";
const std::string kDeviceTable = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT);";

class PostgresGroupCommit : public ::testing::Test {
 protected:
  PostgresGroupCommit() : world(kTable, {"public.todos"}) {
    auto opened = postgres::Connection::open(world.url);
    EXPECT_TRUE(opened.ok());
    db = std::move(*opened);
    store = postgres::make_tenant_store(*db, tenant, false);
  }
  std::vector<Result<sync::PushReply>> push(const std::vector<sync::PushRequest>& requests) {
    std::vector<const sync::PushRequest*> all;
    for (const sync::PushRequest& r : requests) all.push_back(&r);
    return store->push_together(all);
  }
  std::string titles() { return world.sql.rows("SELECT id, title FROM todos ORDER BY id"); }
  // In how many transactions the devices' places in their chains were written.
  int64_t transactions() { return world.sql.number("SELECT count(DISTINCT xmin::text) FROM rejoin.device"); }

  PostgresWorld world;
  std::unique_ptr<postgres::Connection> db;
  postgres::Tenant tenant{"main", system_clock(), system_random()};
  std::unique_ptr<postgres::TenantStore> store;
  PushingDevice a{"a", kDeviceTable}, b{"b", kDeviceTable}, c{"c", kDeviceTable};
};

TEST_F(PostgresGroupCommit, OneTransactionTakesAll) {
  for (PushingDevice* d : {&a, &b, &c}) d->write("of " + d->name);
  const auto replies = push({a.request(), b.request(), c.request()});
  for (const auto& reply : replies) {
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_EQ(reply->outcome.rows_changed, 1u);
    EXPECT_FALSE(reply->repeated);
  }
  EXPECT_EQ(titles(), "a1|of a\nb1|of b\nc1|of c\n");
  EXPECT_EQ(transactions(), 1);
  world.expect_sound();
}

TEST_F(PostgresGroupCommit, TheyMeetEachOtherAsIfTheyCameInTurn) {
  a.peer.run("INSERT INTO todos VALUES ('x', 'first')");
  b.peer.clock().set(system_clock().now_ms() + 50);
  b.peer.run("INSERT INTO todos VALUES ('x', 'second')");
  for (const auto& reply : push({b.request(), a.request()})) ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(titles(), "x|second\n");
  EXPECT_EQ(transactions(), 1);
  world.expect_sound();
}

TEST_F(PostgresGroupCommit, ARefusedRowIsItsPushingDevicesOnly) {
  a.write("good"), b.write("bad"), b.write("good"), c.write("good");
  const auto replies = push({a.request(), b.request(), c.request()});
  for (const auto& reply : replies) ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_TRUE(replies[0]->outcome.refused.empty());
  ASSERT_EQ(replies[1]->outcome.refused.size(), 1u);
  EXPECT_EQ(replies[1]->outcome.refused[0].key_json, "[\"b1\"]");
  EXPECT_TRUE(replies[2]->outcome.refused.empty());
  EXPECT_EQ(titles(), "a1|good\nb2|good\nc1|good\n");
  EXPECT_EQ(transactions(), 1);
}

TEST_F(PostgresGroupCommit, WhatFailsFailsAlone) {
  for (PushingDevice* d : {&a, &b, &c}) d->write("of " + d->name);
  Bytes torn;
  std::vector<sync::PushRequest> requests{a.request(), b.request(), c.request()};
  torn = Bytes(requests[1].frame.substr(0, requests[1].frame.size() - 3));
  requests[1].frame = torn;
  auto replies = push(requests);
  EXPECT_TRUE(replies[0].ok());
  ASSERT_FALSE(replies[1].ok());
  EXPECT_EQ(replies[1].error().code, Code::corrupt);
  EXPECT_TRUE(replies[2].ok());
  EXPECT_EQ(titles(), "a1|of a\nc1|of c\n");
  // In the middle of the transaction: the others were written already when it turns out.
  a.token = replies[0]->next_chain_token, c.token = replies[2]->next_chain_token;
  b.peer.clock().set(system_clock().now_ms() + 3'600'000);
  for (PushingDevice* d : {&a, &b, &c}) d->write("again");
  requests = {a.request(), b.request(), c.request()};
  replies = push(requests);
  EXPECT_TRUE(replies[0].ok());
  ASSERT_FALSE(replies[1].ok());
  EXPECT_EQ(replies[1].error().code, Code::clock_ahead);
  EXPECT_TRUE(replies[2].ok());
  EXPECT_EQ(titles(), "a1|of a\na2|again\nc1|of c\nc2|again\n");
  EXPECT_FALSE(db->in_transaction());
  world.expect_sound();
}

// The default tells how long the row's push would have waited for another.
TEST_F(PostgresGroupCommit, WhatIsHeldIsWaitedForOnceAndNotAgainByEachOfTheGroup) {
  world.sql.run("ALTER TABLE todos ADD COLUMN waits text DEFAULT current_setting('lock_timeout')");
  world.track("public.todos");
  tenant.lock_timeout_ms = 700;
  a.write("first"), b.write("first");
  auto replies = push({a.request(), b.request()});
  for (const auto& reply : replies) ASSERT_TRUE(reply.ok()) << reply.error().message;
  a.token = replies[0]->next_chain_token, b.token = replies[1]->next_chain_token;
  auto opened = postgres::Connection::open(world.url);
  ASSERT_TRUE(opened.ok());
  postgres::Connection& holder = **opened;
  holder.send("BEGIN");
  ASSERT_TRUE(holder.query("UPDATE todos SET title = 'held' WHERE id IN ('a1', 'b1')").ok());
  for (PushingDevice* d : {&a, &b}) d->peer.run("UPDATE todos SET title = 'second'");
  c.write("other");
  const std::vector<sync::PushRequest> requests{a.request(), b.request(), c.request()};
  replies = push(requests);
  for (int i : {0, 1}) {
    ASSERT_FALSE(replies[i].ok());
    EXPECT_EQ(replies[i].error().code, Code::busy);
  }
  EXPECT_TRUE(replies[2].ok());
  ASSERT_TRUE(holder.query("ROLLBACK").ok());
  for (const auto& reply : push(requests)) ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(world.sql.rows("SELECT id, title, waits FROM todos ORDER BY id"),
            "a1|second|700ms\nb1|second|700ms\nc1|other|100ms\n");
  EXPECT_EQ(tenant.lock_timeout_ms, 700);
  world.expect_sound();
}

TEST_F(PostgresGroupCommit, AChunkThatIsThereTwiceIsTakenOnce) {
  a.write("once"), b.write("other");
  const sync::PushRequest first = a.request();
  const auto replies = push({first, b.request(), first});
  for (const auto& reply : replies) ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_FALSE(replies[0]->repeated);
  EXPECT_TRUE(replies[2]->repeated);
  EXPECT_EQ(replies[0]->next_chain_token, replies[2]->next_chain_token);
  EXPECT_EQ(titles(), "a1|once\nb1|other\n");
}

TEST_F(PostgresGroupCommit, AStaleOrUnknownChainIsToldToItsPushingDeviceOnly) {
  a.write("first"), b.write("first");
  auto replies = push({a.request(), b.request()});
  const Bytes old = replies[0]->next_chain_token;
  a.token = old, b.token = replies[1]->next_chain_token;
  a.write("second"), b.write("second");
  replies = push({a.request(), b.request()});
  b.token = replies[1]->next_chain_token;
  // A copy of a's file goes on from where a was; b goes on; c knows a token that was never given.
  a.token = old;
  c.token = sync::make_chain_token(system_random(), 7);
  for (PushingDevice* d : {&a, &b, &c}) d->write("third");
  replies = push({a.request(), b.request(), c.request()});
  ASSERT_FALSE(replies[0].ok());
  EXPECT_EQ(replies[0].error().code, Code::stale_chain);
  EXPECT_TRUE(replies[1].ok());
  ASSERT_FALSE(replies[2].ok());
  EXPECT_EQ(replies[2].error().code, Code::unknown_chain);
  EXPECT_EQ(titles(), "a1|first\na2|second\nb1|first\nb2|second\nb3|third\n");
}

}  // namespace
}  // namespace rejoin::testing
