// What is committed reaches every device that has a live connection, once read for all of them, and nobody loses his
// place.
#include <gtest/gtest.h>

#include "tests/support/live_device.h"

namespace rejoin::testing {
namespace {

class LiveSync : public ::testing::Test {
 protected:
  void start(uint16_t port = 0) {
    settings.data_dir = folder.path() + "/server";
    settings.secret = kLiveSecret;
    settings.http.port = port;
    auto started = server::Server::start(settings, log);
    ASSERT_TRUE(started.ok()) << started.error().message;
    server = std::move(*started);
    url = "http://127.0.0.1:" + std::to_string(server->port());
  }
  void SetUp() override {
    // Nobody finds anything by looking: all is told.
    settings.live.poll_ms = settings.live.outbox_poll_ms = 3'600'000;
  }

  TemporaryFolder folder;
  NullLog log;
  server::Settings settings;
  std::unique_ptr<server::Server> server;
  std::string url;
};

TEST_F(LiveSync, DevicesSeeEachOthersWritesAsTheyAreCommitted) {
  start();
  LiveDevice a(folder.path(), "a"), b(folder.path(), "b"), c(folder.path(), "c");
  a.run("INSERT INTO todos VALUES ('1', 'before')");
  a.connect(url);
  b.connect(url);
  EXPECT_TRUE(b.comes_to("1|before "));
  c.connect(url);
  EXPECT_TRUE(c.comes_to("1|before "));
  b.run("UPDATE todos SET title = 'of b'; INSERT INTO todos VALUES ('2', 'new')");
  for (LiveDevice* device : {&a, &c}) EXPECT_TRUE(device->comes_to("1|of b 2|new "));
  c.run("DELETE FROM todos WHERE id = '1'");
  for (LiveDevice* device : {&a, &b}) EXPECT_TRUE(device->comes_to("2|new "));
  // Both ways at once.
  for (int i = 0; i < 20; ++i)
    for (LiveDevice* device : {&a, &b, &c})
      device->run("UPDATE todos SET title = '" + std::to_string(i) + "' WHERE id = '2'");
  const auto same = [&] { return a.rows() == b.rows() && b.rows() == c.rows(); };
  EXPECT_TRUE(eventually(same));
  a.run("INSERT INTO todos VALUES ('3', 'end')");
  EXPECT_TRUE(eventually([&] { return same() && c.rows("SELECT count(*) FROM todos") == "2 "; }));
  c.run("UPDATE todos SET title = 'last'; DELETE FROM todos WHERE id = '3'");
  for (LiveDevice* device : {&a, &b, &c}) EXPECT_TRUE(device->comes_to("2|last "));
  for (LiveDevice* device : {&a, &b, &c}) {
    EXPECT_EQ(device->connections(), 1u);
    EXPECT_TRUE(device->disconnect().ok());
  }
}

TEST_F(LiveSync, OneReadServesAllThatStandAtOnePlace) {
  start();
  LiveDevice writer(folder.path(), "writer");
  writer.run("INSERT INTO todos VALUES ('1', 'first')");
  writer.connect(url);
  ASSERT_TRUE(eventually([&] { return metric(server->port(), "rejoin_sync_push_rows_sum") >= 1; }));
  std::vector<std::unique_ptr<LivePeer>> readers;
  for (int i = 0; i < 30; ++i) {
    readers.push_back(std::make_unique<LivePeer>(server->port(), live_token("reader " + std::to_string(i))));
    ASSERT_TRUE(readers.back()->connected());
    const auto answer = readers.back()->follow();
    ASSERT_TRUE(answer && answer->page);
    EXPECT_EQ(answer->page->rows, 1u);
  }
  const double before = metric(server->port(), "rejoin_live_pages_total");
  writer.run("INSERT INTO todos VALUES ('2', 'second')");
  Bytes frame;
  for (auto& reader : readers) {
    const auto event = reader->next();
    ASSERT_TRUE(event && event->page);
    if (frame.empty()) frame = *event->page;
    EXPECT_EQ(*event->page, frame);
  }
  EXPECT_EQ(metric(server->port(), "rejoin_live_pages_total") - before, 1);
  EXPECT_EQ(metric(server->port(), "rejoin_live_connections"), 31);
}

// Each is a read of its own; when all have been served, nobody is asked any more.
TEST_F(LiveSync, ReadersWhoSeeDifferentThingsAreServedAndThenThereIsPeace) {
  settings.http.workers = 1;
  start();
  LiveDevice writer(folder.path(), "writer");
  writer.run("INSERT INTO todos VALUES ('1', 'first')");
  writer.connect(url);
  ASSERT_TRUE(eventually([&] { return metric(server->port(), "rejoin_sync_push_rows_sum") >= 1; }));
  std::vector<std::unique_ptr<LivePeer>> readers;
  for (int i = 0; i < 40; ++i) {
    const std::string name = std::to_string(i);
    readers.push_back(
        std::make_unique<LivePeer>(server->port(), live_token("reader " + name, "main", 3600, "hidden" + name)));
    ASSERT_TRUE(readers.back()->connected());
    const auto answer = readers.back()->follow();
    ASSERT_TRUE(answer && answer->page);
    EXPECT_EQ(answer->page->rows, 1u);
  }
  writer.run("INSERT INTO todos VALUES ('2', 'second')");
  for (auto& reader : readers) {
    const auto event = reader->next();
    ASSERT_TRUE(event && event->page);
  }
  // The only worker has nothing left to do.
  ASSERT_TRUE(writer.disconnect().ok());
  EXPECT_TRUE(eventually([&] {
    for (int i = 0; i < 20; ++i)
      if (metric(server->port(), "rejoin_http_requests_working") +
              metric(server->port(), "rejoin_http_requests_waiting") >
          0)
        return false;
    return true;
  }));
}

TEST_F(LiveSync, AReaderThatIsSlowHoldsNothingUpAndMissesNothing) {
  settings.live.queue = 64 << 10;
  start();
  LiveDevice writer(folder.path(), "writer"), other(folder.path(), "other");
  writer.run("INSERT INTO todos VALUES ('0', '')");
  writer.connect(url);
  other.connect(url);
  ASSERT_TRUE(other.comes_to("0| "));
  LivePeer slow(server->port(), live_token("slow"));
  auto answer = slow.follow();
  ASSERT_TRUE(answer && answer->page);
  // Much more than the sockets' buffers hold.
  for (int i = 1; i <= 36; ++i)
    writer.run("INSERT INTO todos VALUES ('" + std::to_string(i) + "', hex(randomblob(262144)))");
  EXPECT_TRUE(eventually([&] { return other.rows("SELECT count(*) FROM todos") == "37 "; }));
  EXPECT_GE(metric(server->port(), "rejoin_live_slow_readers_total"), 1);
  // What it was sent meanwhile is what fits in between; the rest comes as it reads, in order.
  size_t rows = 0;
  while (rows < 36) {
    const auto event = slow.next();
    ASSERT_TRUE(event && event->page);
    const auto page = sync::decode_response(*event->page);
    ASSERT_TRUE(page.ok() && page->page);
    EXPECT_FALSE(page->page->restarted);
    rows += page->page->rows;
  }
  EXPECT_EQ(rows, 36u);
}

TEST_F(LiveSync, WhoComesBackGoesOnWhereHeWas) {
  start();
  const uint16_t port = server->port();
  LiveDevice a(folder.path(), "a"), b(folder.path(), "b");
  a.run("INSERT INTO todos VALUES ('1', 'x')");
  a.connect(url);
  b.connect(url);
  ASSERT_TRUE(b.comes_to("1|x "));
  server->stop();
  server.reset();
  a.run("UPDATE todos SET title = 'meanwhile'; INSERT INTO todos VALUES ('2', 'y')");
  start(port);
  EXPECT_TRUE(b.comes_to("1|meanwhile 2|y "));
  EXPECT_GE(b.connections(), 2u);
  // A place of before is still one: nothing comes twice.
  LivePeer peer(port, live_token("peer"));
  const auto first = peer.follow();
  ASSERT_TRUE(first && first->page);
  EXPECT_EQ(first->page->rows, 2u);
  LivePeer again(port, live_token("peer"));
  const auto second = again.follow(first->page->next_cursor);
  ASSERT_TRUE(second && second->page);
  EXPECT_EQ(second->page->rows, 0u);
  b.run("DELETE FROM todos WHERE id = '1'");
  const auto news = again.next();
  ASSERT_TRUE(news && news->page);
  EXPECT_EQ(sync::decode_response(*news->page)->page->rows, 1u);
}

TEST_F(LiveSync, StoppingTheServerSaysGoodbye) {
  start();
  LivePeer peer(server->port(), live_token("peer"));
  ASSERT_TRUE(peer.follow());
  server->stop();
  EXPECT_FALSE(peer.next());
  EXPECT_EQ(peer.close_code(), 1001);
}

TEST_F(LiveSync, ATokenEndsItsConnectionUnlessAFreshOneComes) {
  start();
  LivePeer ends(server->port(), live_token("ends", "main", 2)), renews(server->port(), live_token("renews", "main", 2)),
      swaps(server->port(), live_token("swaps"));
  ASSERT_TRUE(ends.follow() && renews.follow() && swaps.follow());
  sync::LiveRequest fresh;
  fresh.token = live_token("renews");
  renews.send(fresh);
  const auto told = renews.next();
  ASSERT_TRUE(told);
  EXPECT_GT(told->expires_in_ms, 3'000'000u);
  fresh.token = "not a token";
  renews.send(fresh);
  const auto refused = renews.next();
  ASSERT_TRUE(refused && refused->error);
  EXPECT_EQ(refused->error->code, Code::unauthorized);
  fresh.token = live_token("somebody else");
  swaps.send(fresh);
  EXPECT_FALSE(swaps.next());
  EXPECT_EQ(swaps.close_code(), 4403);
  EXPECT_FALSE(ends.next());
  EXPECT_EQ(ends.close_code(), 4401);
  // The other one is there still, at its place.
  LiveDevice writer(folder.path(), "writer");
  writer.run("INSERT INTO todos VALUES ('1', 'x')");
  writer.connect(url);
  const auto news = renews.next();
  EXPECT_TRUE(news && news->page);
}

TEST_F(LiveSync, ADeviceRenewsItsTokenWithoutLosingItsPlace) {
  start();
  LiveDevice a(folder.path(), "a"), b(folder.path(), "b");
  std::atomic<int> asked = 0;
  a.connect(url, [&] { return live_token("a", "main", ++asked < 3 ? 3 : 3600); });
  b.connect(url);
  EXPECT_TRUE(eventually([&] { return asked >= 3; }));
  b.run("INSERT INTO todos VALUES ('1', 'x')");
  EXPECT_TRUE(a.comes_to("1|x "));
  EXPECT_EQ(a.connections(), 1u);
  // One that has nothing fresh ends, and says why.
  LiveDevice c(folder.path(), "c");
  c.connect(url, [token = live_token("c", "main", 1)] { return token; });
  EXPECT_TRUE(eventually([&] { return c.ended(); }));
  EXPECT_EQ(c.disconnect().error().code, Code::unauthorized);
}

TEST_F(LiveSync, WhatADiscardNeedsFromTheServerComesAtOnce) {
  settings.sync.max_value_bytes = 100;
  start();
  LiveDevice a(folder.path(), "a");
  a.run("INSERT INTO todos VALUES ('1', 'short')");
  a.connect(url);
  ASSERT_TRUE(eventually([&] { return metric(server->port(), "rejoin_sync_push_rows_sum") >= 1; }));
  a.run("UPDATE todos SET title = hex(zeroblob(200))");
  ASSERT_TRUE(eventually([&] { return a.rows("SELECT count(*) FROM rejoin_rejections") == "1 "; }));
  a.discard();
  EXPECT_TRUE(a.comes_to("1|short "));
  EXPECT_EQ(a.connections(), 1u);
}

TEST_F(LiveSync, AFileThatTheApplicationHoldsLockedKeepsItsConnection) {
  start();
  LiveDevice a(folder.path(), "a"), b(folder.path(), "b");
  a.patience_ms = 1;
  a.connect(url);
  b.connect(url);
  b.run("INSERT INTO todos VALUES ('0', 'b')");
  ASSERT_TRUE(a.comes_to("0|b "));
  a.run("INSERT INTO todos VALUES ('1', 'a')");
  ASSERT_TRUE(b.comes_to("0|b 1|a "));
  const double before = metric(server->port(), "rejoin_live_pages_total");
  a.run("BEGIN IMMEDIATE; UPDATE todos SET title = 'of a' WHERE id = '1'");
  b.run("INSERT INTO todos VALUES ('2', 'of b')");
  ASSERT_TRUE(eventually([&] { return metric(server->port(), "rejoin_live_pages_total") > before; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  a.run("COMMIT");
  for (LiveDevice* device : {&a, &b}) {
    EXPECT_TRUE(device->comes_to("0|b 1|of a 2|of b "));
    EXPECT_EQ(device->connections(), 1u);
  }
}

TEST_F(LiveSync, WhoHasTooManyConnectionsLosesTheOldest) {
  settings.live.per_device = 2;
  start();
  // One after the other: which of two that come together is the older one is the server's to say.
  LivePeer first(server->port(), live_token("d"));
  ASSERT_TRUE(first.follow());
  LivePeer second(server->port(), live_token("d"));
  ASSERT_TRUE(second.follow());
  LivePeer third(server->port(), live_token("d"));
  ASSERT_TRUE(third.follow());
  EXPECT_FALSE(first.next());
  EXPECT_EQ(first.close_code(), 4409);
  EXPECT_TRUE(second.follow());
}

}  // namespace
}  // namespace rejoin::testing
