// A store that went back to a backup: what it says of itself, and that it takes back what it wrote itself and lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "codec/changeset.h"
#include "codec/cursor.h"
#include "tests/support/store_device.h"

namespace rejoin::testing {
namespace {

const std::string kRows = "SELECT id, title, done FROM todos ORDER BY id";

class StoreGoesBack : public ::testing::TestWithParam<StoreKind> {
 protected:
  StoreGoesBack() : world(StoreWorld::make(GetParam(), kStoreTables)) {}
  sync::TenantStore& store() { return world->store(); }
  void push_all(StoreDevice& device) {
    const Bytes frame = device.frame();
    auto reply = device.push(store(), frame);
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_EQ(reply->outcome.refused.size(), 0u);
  }
  std::unique_ptr<StoreWorld> world;
};

// What a device has of the store's own writing, as it takes it back: by its records' numbers of `site`.
Bytes taken_back(StoreDevice& device, const crdt::SiteId& site, crdt::Hlc through) {
  codec::Cursor from;
  for (int64_t id = 0; id < device.peer.number("SELECT count(*) FROM rejoin_site"); ++id)
    if (device.peer.number("SELECT site = x'" + to_hex(site.view()) +
                           "' FROM rejoin_site WHERE id = " + std::to_string(id)))
      from.back = static_cast<uint64_t>(id) + 1;
  EXPECT_NE(from.back, 0u) << "it has nothing of that site";
  from.since = through;
  sqlite::PageRequest want;
  want.cursor = codec::encode_cursor(from);
  want.only_site = device.site();
  auto page = device.peer.rejoin().page(want);
  EXPECT_TRUE(page.ok()) << page.error().message;
  return page->frame;
}

TEST_P(StoreGoesBack, AStoreThatWentBackSaysUpToWhereItHasItsOwnWritesAndTakesTheLaterOnes) {
  StoreDevice a("a");
  const crdt::SiteId was = store().restored("a", a.site(), {}, {})->sites.at(0);
  world->run("INSERT INTO todos VALUES('kept', 'before the push', 0)");
  a.take_all(store());
  a.write("a", 2);
  push_all(a);
  world->back_up();
  world->run("INSERT INTO todos VALUES('lost', 'by SQL', 0); UPDATE todos SET done = 5 WHERE id = 'a1'");
  a.take_all(store());
  a.write("b", 1);
  push_all(a);
  world->go_back();
  const Bytes late = a.token;
  auto knows = store().restored("a", a.site(), late, {});
  ASSERT_TRUE(knows.ok()) << knows.error().message;
  EXPECT_GT(knows->through, 0u);
  // Who did not hear the answer asks again.
  EXPECT_EQ(store().restored("a", a.site(), late, {})->through, knows->through);
  EXPECT_EQ(store().restored("a", a.site(), late, {})->sites, knows->sites);
  EXPECT_EQ(std::count(knows->sites.begin(), knows->sites.end(), was), 1);
  const Bytes frame = taken_back(a, was, knows->through);
  auto reader = codec::ChangesetReader::open(frame);
  ASSERT_TRUE(reader.ok());
  uint64_t rows = 0;
  for (const auto& block : reader->blocks()) rows += block.rows;
  EXPECT_EQ(rows, 4u) << "what it still has went back, too";  // a1, a2, b1, lost
  a.token.clear();
  auto reply = a.push(store(), frame);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->outcome.refused.size(), 0u);
  EXPECT_EQ(world->rows(kRows),
            "a1|title of row number 1|5\na2|title of row number 2|0\nb1|title of row number 1|1\n"
            "kept|before the push|0\nlost|by SQL|0\n");
  EXPECT_EQ(plain_rows(a.peer, kRows), world->rows(kRows));
  a.peer.expect_sound();
  world->expect_sound();
}

// Its clock was ahead when it gave them, and is not now: what others wrote must not wait for that.
TEST_P(StoreGoesBack, StampsOfItsOwnThatAreAheadOfItsClockKeepNothingElseOut) {
  StoreDevice a("a"), b("b");
  const crdt::SiteId was = store().restored("a", a.site(), {}, {})->sites.at(0);
  b.write("x", 1);
  push_all(b);
  a.take_all(store());
  a.peer.clock().set(system_clock().now_ms());
  a.peer.run("UPDATE todos SET done = 8 WHERE id = 'x1'; INSERT INTO todos VALUES('mine', 'unsent', 0)");
  ASSERT_TRUE(a.peer.rejoin().fold().ok());
  world->back_up();
  const auto later = [] { std::this_thread::sleep_for(std::chrono::milliseconds(500)); };  // longer than a push waits
  later();
  const int64_t between = system_clock().now_ms();
  later();
  world->run("INSERT INTO todos VALUES('lost', 'by SQL', 0); UPDATE todos SET title = 'by SQL' WHERE id = 'x1'");
  a.take_all(store());
  world->go_back();
  const Bytes frame = taken_back(a, was, 0);
  sync::PushRequest request = a.request(frame);
  request.drift_ms = between - system_clock().now_ms();
  request.now_ms = system_clock().now_ms();
  auto reply = a.push(store(), request);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(world->rows(kRows), "mine|unsent|0\nx1|title of row number 1|8\n");
  ASSERT_EQ(reply->outcome.refused.size(), 2u);
  for (const sync::RefusedRow& row : reply->outcome.refused) EXPECT_EQ(row.code, Code::clock_ahead) << row.key_json;
  // A stamp of anybody else's there still refuses the whole.
  b.peer.clock().set(system_clock().now_ms());
  b.write("y", 1);
  const Bytes ahead = b.frame();
  request = b.request(ahead);
  request.drift_ms = between - system_clock().now_ms();
  EXPECT_EQ(code_of(store().push(request)), Code::clock_ahead);
}

// A tenant's file that was made by copying a device's file has that device's site among its former ones.
TEST(StoreGoesBackEmbedded, AClockThatIsAheadIsTheDevicesAlsoWhereTheServersFileIsACopyOfItsOwn) {
  auto world = StoreWorld::make(StoreKind::embedded, kStoreTables);
  StoreDevice a("a");
  a.write("x", 1);
  ASSERT_TRUE(a.push(world->store(), a.frame()).ok());
  world->run(
      "CREATE TABLE IF NOT EXISTS rejoin_identity(site INTEGER PRIMARY KEY);"
      "INSERT INTO rejoin_identity SELECT id FROM rejoin_site WHERE site = x'" +
      to_hex(a.site().view()) + "'");
  a.peer.clock().set(system_clock().now_ms() + 3'600'000);
  a.write("y", 1);
  const Bytes ahead = a.frame();
  sync::PushRequest request = a.request(ahead);
  request.now_ms = system_clock().now_ms();
  request.drift_ms = 60'000;
  EXPECT_EQ(code_of(world->store().push(request)), Code::clock_ahead);
}

// Symptom: a device never heard of another's rows. Behind a pooler a node keeps its connections and what it knows, of
// which the newest may be there again, behind others than before.
TEST(StoreGoesBackPostgres, ANodeThatKnewTheDevicesInAnotherOrderLeavesNobodysRowsOut) {
  auto world = StoreWorld::make(StoreKind::postgres, kStoreTables);
  StoreDevice a("a"), b("b"), c("c");
  const auto bring = [&](size_t node, StoreDevice& device) {
    device.position.clear(), device.token.clear();
    auto reply = device.push(world->node(node).store(), device.frame());
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_EQ(reply->outcome.refused.size(), 0u);
  };
  for (StoreDevice* device : {&a, &b, &c}) device->write(device->name, 1), bring(1, *device);
  world->run(
      "BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM todos; DELETE FROM rejoin.record; DELETE FROM "
      "rejoin.log; DELETE FROM rejoin.device; DELETE FROM rejoin.site WHERE id > 0; UPDATE rejoin.tenant SET tail = 0, "
      "last = 0; COMMIT");
  for (StoreDevice* device : {&b, &a, &c}) bring(0, *device);
  b.take_all(world->node(1).store());
  EXPECT_EQ(b.peer.rows("SELECT id FROM todos ORDER BY id"), "'a1'\n'b1'\n'c1'\n");
}

// The embedded store's pages: paging_visibility_test.
TEST(StoreGoesBackPostgres, APageNeverNamesLessThanThePagesBeforeIt) {
  auto world = StoreWorld::make(StoreKind::postgres, kStoreTables);
  StoreDevice reader("reader"), other("other");
  const auto push = [&](const char* prefix, int rows) {
    other.write(prefix, rows);
    ASSERT_TRUE(other.push(world->node(0).store(), other.frame()).ok());
  };
  push("a", 1);
  reader.take_all(world->node(0).store());
  push("b", 60);
  push("c", 1);
  const auto horizon = [&] {
    auto page = world->node(0).store().pull(reader.pull(500));
    EXPECT_TRUE(page.ok()) << page.error().message;
    reader.cursor = page->next_cursor;
    auto frame = codec::ChangesetReader::open(page->frame);
    EXPECT_TRUE(frame.ok());
    return frame->info().horizon;
  };
  const uint64_t named = horizon();
  world->run(
      "DELETE FROM rejoin.log WHERE seq = (SELECT tail FROM rejoin.tenant); UPDATE rejoin.tenant SET tail = tail - 1");
  EXPECT_EQ(horizon(), named);
}

// All rows from before tracking have one stamp, the least: it is below every bound, whenever they were lost.
TEST(StoreGoesBackTo, ATimeBeforeATableWasTrackedGetsBackTheRowsThatWereThere) {
  Peer server(kStoreSchema + "INSERT INTO todos VALUES('from before', 'x', 0)", kStoreNames);
  const crdt::SiteId was = crdt::SiteId::from(server.site());
  StoreDevice a("a");
  a.peer.apply(server.changeset());
  auto reader = codec::ChangesetReader::open(taken_back(a, was, crdt::hlc_of_ms(system_clock().now_ms())));
  ASSERT_TRUE(reader.ok());
  ASSERT_EQ(reader->blocks().size(), 1u);
  EXPECT_EQ(reader->blocks()[0].rows, 1u);
}

// Symptom: a device saw nothing of a restored server, until that one's log was as long as before.
TEST_P(StoreGoesBack, WhoHasReadHalfOfAStreamSeesTheStoreAsItIsNow) {
  StoreDevice reader("reader"), other("other"), third("third");
  other.write("a", 30);
  push_all(other);
  reader.take_all(store());
  world->back_up();
  for (const char* lost : {"b", "c", "d"}) other.write(lost, 100), push_all(other);
  reader.take(store(), 500);
  EXPECT_GT(reader.peer.number("SELECT count(*) FROM rejoin_staged"), 0);
  world->go_back();
  third.write("x", 30);
  push_all(third);
  reader.take_all(store(), 500);
  EXPECT_TRUE(reader.restarted);
  EXPECT_GT(reader.pages, 2);
  EXPECT_EQ(reader.peer.number("SELECT count(*) FROM todos WHERE id GLOB 'x*'"), 30);
}

// Symptom: rows to which a device had lost its right stayed with it, behind pages that nothing could go on with.
TEST_P(StoreGoesBack, WhoHasReadHalfOfAStreamLetsGoOfWhatItMayReadNoMore) {
  StoreDevice other("other"), third("third");
  LoopbackDevice reader("reader", kStoreSchema, kStoreNames);
  other.write("a", 30);
  push_all(other);
  world->sync(reader);
  world->back_up();
  for (const char* lost : {"b", "c", "d"}) other.write(lost, 100), push_all(other);
  {
    // A sync that ends behind its first page.
    const auto device = sqlite::make_device_store(reader.peer.rejoin(), "http://server");
    sync::PullRequest request;
    request.device = reader.caller.device;
    request.site = crdt::SiteId::from(reader.peer.site());
    request.cursor = device->state()->pull_cursor;
    request.max_bytes = 500;
    const auto page = store().pull(request);
    ASSERT_TRUE(page.ok()) << page.error().message;
    ASSERT_TRUE(
        device->apply_page(request.cursor, page->frame, page->next_cursor, system_clock().now_ms(), page->evicted)
            .ok());
  }
  EXPECT_EQ(reader.peer.number("SELECT count(*) FROM rejoin_staged"), 1);
  world->go_back();
  third.write("x", 3);
  push_all(third);
  world->sync(reader);
  EXPECT_EQ(reader.peer.number("SELECT count(*) FROM todos WHERE id GLOB 'x*'"), 3);
  EXPECT_EQ(reader.peer.number("SELECT (SELECT count(*) FROM rejoin_staged) + (SELECT count(*) FROM rejoin_stream)"),
            0);
  reader.caller.who.tables.set("todos", {false, false});
  reader.caller.who.view = 77;
  world->sync(reader);
  EXPECT_EQ(reader.peer.number("SELECT count(*) FROM todos"), 0);
}

// Symptom: a device saw nothing of a restored server that had compacted the device's place away meanwhile, until that
// one's log was as long as before.
TEST_P(StoreGoesBack, WhoHasReadHalfOfAStreamSeesTheStoreAsItIsNowAlsoIfItsPlaceIsCompactedAway) {
  StoreDevice reader("reader"), other("other"), third("third");
  other.write("a", 30);
  push_all(other);
  world->back_up();
  const auto push_some = [&](StoreDevice& device, const std::string& prefix, int times, int rows) {
    for (int i = 0; i < times; ++i) device.write(prefix + std::to_string(i) + "_", rows), push_all(device);
  };
  push_some(other, "b", 3, 40);
  reader.take_all(store());
  push_some(other, "c", 27, 40);
  for (int pages = 0; pages < 2; ++pages) reader.take(store(), 500);
  EXPECT_GT(reader.peer.number("SELECT count(*) FROM rejoin_staged"), 0);
  world->go_back();
  push_some(third, "x", 12, 3);
  for (const char* device : {"reader", "other", "third"}) world->age_device(device);
  world->forget_deletions();
  reader.take_all(store(), 500);
  EXPECT_TRUE(reader.restarted);
  EXPECT_EQ(reader.peer.number("SELECT count(*) FROM todos WHERE id GLOB 'x*'"), 36);
}

// A device that only read since the backup. Its place lies beyond what the store forgot since.
TEST_P(StoreGoesBack, WhoReadWhatWasLostHearsOfADeletionThatIsForgottenSince) {
  StoreDevice reader("reader"), other("other");
  other.write("a", 3);
  push_all(other);
  reader.take_all(store());
  reader.write("r", 1);
  push_all(reader);
  world->back_up();
  for (int i = 0; i < 6; ++i) world->run("INSERT INTO todos VALUES('lost" + std::to_string(i) + "', 'by SQL', 0)");
  reader.take_all(store());
  const Bytes lost = reader.cursor;
  world->go_back();
  world->run("DELETE FROM todos WHERE id = 'a1'");
  other.cursor.clear();
  other.take_all(store()), other.take_all(store());
  for (const char* device : {"reader", "other"}) world->age_device(device);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  world->forget_deletions();
  // Of it nothing is left here, and its former readers are told to let it go.
  sync::PullRequest request = reader.pull();
  auto page = store().pull(request);
  ASSERT_TRUE(page.ok()) << page.error().message;
  EXPECT_TRUE(page->restarted);
  const auto all_older = [](const sync::EvictedRows& rows) { return rows.table == "todos" && rows.horizon != 0; };
  EXPECT_TRUE(std::any_of(page->evicted.begin(), page->evicted.end(), all_older));
  // An edit of it is judged, and not taken for one that waits for its insert.
  reader.peer.run("UPDATE todos SET done = 7 WHERE id = 'a1'");
  const Bytes frame = reader.frame();
  sync::PushRequest push = reader.request(frame);
  push.cursor = lost;
  auto reply = reader.push(store(), push);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  ASSERT_EQ(reply->outcome.refused.size(), 1u);
  EXPECT_EQ(reply->outcome.refused[0].code, Code::before_horizon);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos WHERE id = 'a1'"), 0);
  // Once it has read everything it is where all are.
  reader.take_all(store());
  const Bytes now = reader.cursor;
  EXPECT_EQ(reader.take_all(store()), 0u);
  page = store().pull(reader.pull());
  ASSERT_TRUE(page.ok()) << page.error().message;
  EXPECT_EQ(page->evicted.size(), 0u);
  EXPECT_EQ(reader.cursor, now);
}

// Between the last chunk of what goes back and the end of its stream, which what was written meanwhile puts off.
TEST_P(StoreGoesBack, APushThatGivesBackWhatWasLostGivesItBackAlsoWhenItHasToBeginAnew) {
  LoopbackDevice device("device", kStoreSchema, kStoreNames);
  world->run("INSERT INTO todos VALUES('kept', 'before the push', 0)");
  world->sync(device);
  world->back_up();
  SeededRandom random(1);
  for (int i = 0; i < 20; ++i)
    world->run("INSERT INTO todos VALUES('lost" + std::to_string(i) + "', '" + to_hex(random.bytes(50)) + "', 0)");
  world->sync(device);
  world->go_back();
  device.options.chunk_bytes = 300;
  device.options.attempts = 2;
  const auto store = sqlite::make_device_store(device.peer.rejoin(), "http://server");
  const auto place = [&] {
    const std::string hex = plain_rows(device.peer, "SELECT hex(push_cursor) FROM rejoin_peer");
    return codec::decode_cursor(from_hex(hex.substr(0, hex.find('\n'))).value_or(Bytes())).value_or(codec::Cursor());
  };
  bool cut = false;
  device.fault = [&](uint64_t exchange) {
    const codec::Cursor at = place();
    cut |= !at.scanning && at.horizon != 0;
    if (at.back != 0 && !cut)
      for (uint64_t i = 0; i < 20; ++i) {  // where the scan is past
        device.peer.run("INSERT INTO todos VALUES('a" + std::to_string(exchange * 20 + i) + "', 'of the device', 0)");
        device.peer.seq();
      }
    return cut ? Fault::lose_request : Fault::none;
  };
  EXPECT_TRUE(device.sync(world->node()).error.has_value());
  device.fault = {};
  ASSERT_TRUE(cut);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos WHERE id LIKE 'lost%'"), 0);
  const auto pending = store->next_push(300, {});
  ASSERT_TRUE(pending.ok() && *pending);
  ASSERT_TRUE(store->restart_push((*pending)->nonce).ok());
  // Of another process that had been refused the same chunk.
  ASSERT_TRUE(store->next_push(300, {}).ok());
  ASSERT_TRUE(store->restart_push((*pending)->nonce).ok());
  EXPECT_EQ(device.peer.number("SELECT nonce NOT NULL FROM rejoin_peer"), 1);
  world->sync(device);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos WHERE id LIKE 'lost%'"), 20);
  EXPECT_EQ(world->rows(kRows), plain_rows(device.peer, kRows));
}

// A disk image of a device, say: the copy must take a site of its own, or each hides its writes from the other.
TEST_P(StoreGoesBack, ACopyOnAnotherDeviceIsOneAlsoWhereItHasMissedForgottenDeletions) {
  StoreDevice a("a"), copy("copy");
  a.write("a", 3);
  push_all(a);
  a.take_all(store());
  const Bytes cursor = a.cursor, token = a.token;
  world->run("DELETE FROM todos WHERE id = 'a1'; INSERT INTO todos VALUES('s', 'by SQL', 0)");
  a.take_all(store()), a.take_all(store());
  world->age_device("a");
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  world->forget_deletions();
  ASSERT_TRUE(store().restored("copy", a.site(), token, cursor).ok());
  copy.write("c", 1);
  const Bytes frame = copy.frame();
  sync::PushRequest push = copy.request(frame);
  push.site = a.site();
  EXPECT_EQ(code_of(store().push(push)), Code::stale_chain);
  // The device itself goes on.
  a.write("b", 1);
  push_all(a);
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreGoesBack, ::testing::Values(StoreKind::embedded, StoreKind::postgres),
                         [](const auto& of) { return of.param == StoreKind::embedded ? "embedded" : "postgres"; });

}  // namespace
}  // namespace rejoin::testing
