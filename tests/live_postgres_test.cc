// Live over PostgreSQL: writes reach the devices of every node, plain SQL included.
#include <gtest/gtest.h>

#include "tests/support/live_device.h"
#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

class Node {
 public:
  Node(const std::string& folder, const std::string& postgres, int64_t poll_ms, int64_t outbox_poll_ms) {
    server::Settings settings;
    settings.data_dir = folder;
    settings.secret = kLiveSecret;
    settings.postgres.url = postgres;
    settings.live.poll_ms = poll_ms;
    settings.live.outbox_poll_ms = outbox_poll_ms;
    auto started = server::Server::start(settings, log_);
    EXPECT_TRUE(started.ok()) << (started.ok() ? "" : started.error().message);
    server_ = std::move(*started);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_->port()); }
  uint16_t port() const { return server_->port(); }

 private:
  NullLog log_;
  std::unique_ptr<server::Server> server_;
};

constexpr int64_t kNever = 3'600'000;

class LivePostgres : public ::testing::Test {
 protected:
  TemporaryFolder folder;
  PostgresWorld world{"CREATE TABLE todos(id text PRIMARY KEY, title text)", {"public.todos"}};
};

TEST_F(LivePostgres, TwoNodesReachEachOthersDevices) {
  Node one(folder.path(), world.url, kNever, kNever), two(folder.path(), world.url, kNever, kNever);
  LiveDevice a(folder.path(), "a"), b(folder.path(), "b");
  a.connect(one.url());
  b.connect(two.url());
  ASSERT_TRUE(eventually([&] { return a.connections() == 1 && b.connections() == 1; }));
  for (int i = 1; i <= 5; ++i) {
    a.run("INSERT OR REPLACE INTO todos VALUES ('1', 'a" + std::to_string(i) + "')");
    EXPECT_TRUE(b.comes_to("1|a" + std::to_string(i) + " "));
    b.run("UPDATE todos SET title = 'b" + std::to_string(i) + "'");
    EXPECT_TRUE(a.comes_to("1|b" + std::to_string(i) + " "));
  }
}

TEST_F(LivePostgres, PlainSqlArrivesAtOnceWithoutAnybodysAsking) {
  Node one(folder.path(), world.url, kNever, 20), two(folder.path(), world.url, kNever, kNever);
  LiveDevice a(folder.path(), "a"), b(folder.path(), "b");
  a.connect(one.url());
  b.connect(two.url());
  world.sql.run("INSERT INTO todos VALUES ('s', 'by sql')");
  EXPECT_TRUE(a.comes_to("s|by sql "));
  // The second node looks at no outbox: it hears of the fold.
  EXPECT_TRUE(b.comes_to("s|by sql "));
  world.sql.run("UPDATE todos SET title = 'changed'; INSERT INTO todos VALUES ('t', 'more')");
  for (LiveDevice* device : {&a, &b}) EXPECT_TRUE(device->comes_to("s|changed t|more "));
  world.sql.run("DELETE FROM todos WHERE id = 's'");
  for (LiveDevice* device : {&a, &b}) EXPECT_TRUE(device->comes_to("t|more "));
}

TEST_F(LivePostgres, ANodeWhoseListenerIsCutFindsItsWayBack) {
  Node one(folder.path(), world.url, kNever, kNever), two(folder.path(), world.url, kNever, kNever);
  LiveDevice a(folder.path(), "a"), b(folder.path(), "b");
  a.connect(one.url());
  b.connect(two.url());
  a.run("INSERT INTO todos VALUES ('1', 'before')");
  ASSERT_TRUE(b.comes_to("1|before "));
  world.sql.run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rejoin' AND datname = "
      "current_database() AND pid <> pg_backend_pid()");
  // Whatever the two had missed by then, and what comes after.
  a.run("UPDATE todos SET title = 'after'");
  EXPECT_TRUE(b.comes_to("1|after "));
  b.run("UPDATE todos SET title = 'back'");
  EXPECT_TRUE(a.comes_to("1|back "));
}

TEST_F(LivePostgres, WithoutNotificationsTheLogsAreLookedAt) {
  Node one(folder.path(), world.url, 20, kNever);
  LiveDevice a(folder.path(), "a");
  a.connect(one.url());
  ASSERT_TRUE(eventually([&] { return a.connections() == 1; }));
  // A store over a connection of its own tells nobody.
  LoopbackDevice silent("silent", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)", {"todos"});
  silent.peer.run("INSERT INTO todos VALUES ('q', 'quiet')");
  world.sync(silent);
  EXPECT_TRUE(a.comes_to("q|quiet "));
}

TEST_F(LivePostgres, MessagesToATopicReachItsListenersOnEveryNodeAndAreKeptNowhere) {
  Node one(folder.path(), world.url, kNever, kNever), two(folder.path(), world.url, kNever, kNever);
  LiveDevice a(folder.path(), "a"), b(folder.path(), "b"), c(folder.path(), "c");
  a.connect(one.url(), nullptr, {"typing"});
  b.connect(two.url(), nullptr, {"typing", "else"});
  c.connect(two.url(), [] { return live_token("c", "another tenant"); }, {"typing"});
  ASSERT_TRUE(eventually([&] { return a.connections() == 1 && b.connections() == 1 && c.connections() == 1; }));
  LivePeer sender(one.port(), live_token("sender"));
  ASSERT_TRUE(sender.follow());
  sync::LiveRequest request;
  request.message = sync::AppMessage{"typing", Bytes("\0\xff", 2) + Bytes(sync::kMostAppBytes - 2, 'x'), "not me"};
  // The listening itself may arrive after this: it is said again until it was heard.
  ASSERT_TRUE(eventually([&] {
    sender.send(request);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return !a.messages().empty() && !b.messages().empty();
  }));
  for (LiveDevice* device : {&a, &b}) {
    EXPECT_EQ(device->messages()[0].data, request.message->data);
    EXPECT_EQ(device->messages()[0].topic, "typing");
    EXPECT_EQ(device->messages()[0].from, "sender");
  }
  EXPECT_TRUE(c.messages().empty());
  request.message->data += 'x';
  sender.send(request);
  const auto refused = sender.next();
  ASSERT_TRUE(refused && refused->error);
  EXPECT_EQ(refused->error->code, Code::too_large);
  for (const char* table : {"log", "outbox", "record"})
    EXPECT_EQ(world.sql.number(std::string("SELECT count(*) FROM rejoin.") + table), 0) << table;
}

}  // namespace
}  // namespace rejoin::testing
