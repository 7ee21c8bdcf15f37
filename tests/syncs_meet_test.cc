// Processes, and addresses of one server, that sync one file at once: a page is taken where the file is, with all that
// comes before it, or is asked for again. And what the file shows while everything is asked for anew.
#include <gtest/gtest.h>

#include "codec/changeset.h"
#include "codec/cursor.h"
#include "tests/support/store_device.h"

namespace rejoin::testing {
namespace {

constexpr const char* kUrl = "http://server";

class SyncsMeet : public ::testing::TestWithParam<StoreKind> {
 protected:
  SyncsMeet()
      : world(StoreWorld::make(GetParam(), kStoreTables)), other("other"), file("file", kStoreSchema, kStoreNames) {}

  std::unique_ptr<sync::DeviceStore> process(const std::string& url = kUrl) {
    return sqlite::make_device_store(file.peer.rejoin(), url);
  }
  void push(const std::string& prefix, int rows) {
    other.write(prefix, rows);
    ASSERT_TRUE(other.push(world->store(), other.frame()).ok());
  }
  sync::PullReply ask(const Bytes& cursor, uint64_t bytes) {
    sync::PullRequest request;
    request.device = file.caller.device;
    request.site = crdt::SiteId::from(file.peer.site());
    request.cursor = cursor;
    request.max_bytes = bytes;
    request.who = &file.caller.who;
    auto page = world->store().pull(request);
    EXPECT_TRUE(page.ok()) << page.error().message;
    return std::move(*page);
  }
  static Result<sync::ApplyOutcome> take(sync::DeviceStore& process, const Bytes& cursor, const sync::PullReply& page) {
    return process.apply_page(cursor, page.frame, page.next_cursor, system_clock().now_ms(), page.evicted);
  }
  // Reads a large change up to a place in the middle at which another's transaction ends; pages wait then.
  Bytes read_half(sync::DeviceStore& process) {
    for (const char* prefix : {"b", "c", "d"}) push(prefix, 60);
    for (int page = 0; page < 40; ++page) {
      const Bytes at = process.state()->pull_cursor;
      if (page > 0 && ends_a_batch(at)) return at;
      EXPECT_TRUE(take(process, at, ask(at, 700)).ok());
    }
    ADD_FAILURE() << "no page ends where a transaction does";
    return {};
  }
  int64_t count() { return file.peer.number("SELECT count(*) FROM todos"); }
  int64_t staged() { return file.peer.number("SELECT count(*) FROM rejoin_staged"); }

  std::unique_ptr<StoreWorld> world;
  StoreDevice other;
  LoopbackDevice file;

 private:
  // The embedded store's pages never end within one; PostgreSQL's say how far they came.
  static bool ends_a_batch(const Bytes& cursor) {
    const auto place = codec::decode_cursor(cursor);
    return place && !place->scanning && place->horizon != 0 && place->key.empty();
  }
};

// Symptom: rows of the first pages were gone for good. The second answer had passed for the beginning of a stream.
TEST_P(SyncsMeet, TwoAnswersFromOnePlaceLoseNoPageThatWaits) {
  push("a", 3);
  world->sync(file);
  const auto one = process(), two = process();
  const Bytes at = read_half(*one);
  EXPECT_GT(staged(), 0);
  const sync::PullReply first = ask(at, 700);
  push("e", 60);
  const sync::PullReply second = ask(at, 700);
  ASSERT_TRUE(take(*one, at, first).ok());
  const int64_t waiting = staged();
  const auto outcome = take(*two, at, second);
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_TRUE(outcome->moved);
  EXPECT_EQ(staged(), waiting);
  world->sync(file);
  EXPECT_EQ(count(), 243);
}

TEST_P(SyncsMeet, APageIsNotTakenByWhoAsksForEverythingAnew) {
  push("a", 3);
  world->sync(file);
  const auto one = process(), two = process();
  const Bytes at = read_half(*one);
  const sync::PullReply page = ask(at, 700);
  ASSERT_TRUE(two->restart_pull({}).ok());
  EXPECT_EQ(staged(), 0);
  const auto outcome = take(*one, at, page);
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_TRUE(outcome->moved);
  EXPECT_EQ(one->state()->pull_cursor, "");
  world->sync(file);
  EXPECT_EQ(count(), 183);
}

// As in a file that an older version has read: nothing says then where it is.
TEST_P(SyncsMeet, APageFromTheMiddleIsAGapWithoutTheOnesBeforeIt) {
  push("a", 3);
  world->sync(file);
  const auto one = process();
  const Bytes at = read_half(*one);
  file.peer.run("DELETE FROM rejoin_staged; DELETE FROM rejoin_stream");
  EXPECT_EQ(code_of(take(*one, at, ask(at, 700))), Code::gap);
  world->sync(file);
  EXPECT_EQ(count(), 183);
}

TEST_P(SyncsMeet, TwoAddressesOfOneServerWaitForTheSamePages) {
  push("a", 3);
  world->sync(file);
  file.url = "http://other.name";
  world->sync(file);
  EXPECT_EQ(file.peer.number("SELECT count(*) FROM rejoin_peer"), 2);
  const auto one = process(file.url);
  read_half(*one);
  ASSERT_TRUE(process()->restart_pull({}).ok());  // and nothing more is heard there
  EXPECT_EQ(one->state()->pull_cursor, "");
  world->sync(file);
  EXPECT_EQ(count(), 183);
}

// Symptom: most rows were away from the restart on until a whole sync got through.
TEST_P(SyncsMeet, RowsThatAreToLeaveStayUntilThePagesAreHereThatAreAskedForAnew) {
  push("a", 2000);
  file.peer.run("INSERT INTO todos VALUES('mine', 'x', 0)");
  for (int times = 0; times < 2; ++times) world->sync(file);
  other.peer.run("DELETE FROM todos WHERE id = 'a1'");
  ASSERT_TRUE(other.push(world->store(), other.frame()).ok());
  for (const char* device : {"file", "other"}) world->age_device(device);
  world->forget_deletions();
  const auto one = process();
  const Bytes at = one->state()->pull_cursor;
  ASSERT_TRUE(take(*one, at, ask(at, 5000)).ok());
  EXPECT_GT(file.peer.number("SELECT count(*) FROM rejoin_evicted"), 1000);
  file.peer.run("INSERT INTO todos VALUES('also mine', 'x', 0)");
  ASSERT_TRUE(one->restart_pull({}).ok());
  // One exchange gets through.
  file.options.page_bytes = 5000;
  file.options.attempts = 2;
  file.fault = [](uint64_t exchange) { return exchange >= 1 ? Fault::lose_request : Fault::none; };
  file.peer.clock().set(system_clock().now_ms());
  EXPECT_TRUE(file.sync(world->node()).error.has_value());
  EXPECT_EQ(count(), 2002);
  file.fault = {};
  world->sync(file);
  EXPECT_EQ(count(), 2001);
}

// Symptom: own rows were gone, here and from the server, which had lost them and had not heard of them again.
TEST_P(SyncsMeet, OwnRowsThatAServerLostDoNotLeave) {
  push("a", 30);
  file.peer.run("INSERT INTO todos VALUES('m0', 'first', 0)");
  world->sync(file);
  world->back_up();
  file.peer.run(
      "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO todos SELECT 'm' || "
      "i, hex(randomblob(400)), 0 FROM n");
  world->sync(file);
  ASSERT_TRUE(file.peer.rejoin().compact().ok());
  // Its rights have changed, and the first page of what it may read now says that nothing of before counts.
  file.caller.who.tables.set("notes", {false, false});
  file.caller.who.view = 77;
  const auto one = process();
  const Bytes at = one->state()->pull_cursor;
  sync::PullReply page = ask(at, 500);
  page.evicted.push_back({"todos", true, {}});
  ASSERT_TRUE(take(*one, at, page).ok());
  EXPECT_GT(staged(), 0);
  world->go_back();
  world->sync(file);
  EXPECT_EQ(file.peer.number("SELECT count(*) FROM todos WHERE id GLOB 'm*'"), 3001);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos WHERE id LIKE 'm%'"), 3001);
}

// Symptom: nearly all rows were away, and own ones lost for good, after a merge with another file in between.
TEST_P(SyncsMeet, AMergeWithAnotherFileLetsNothingLeaveThatWaitsForAServersPages) {
  push("a", 30);
  world->sync(file);
  const auto one = process();
  const Bytes at = one->state()->pull_cursor;
  push("b", 30);
  push("c", 100);
  sync::PullReply page = ask(at, 500);
  page.evicted.push_back({"todos", true, {}});
  ASSERT_TRUE(take(*one, at, page).ok());
  EXPECT_GT(staged(), 0);
  ASSERT_TRUE(one->restart_pull({}).ok());
  Peer third(kStoreSchema, kStoreNames);
  third.run("INSERT INTO todos VALUES('third', 'x', 0)");
  const auto theirs = third.rejoin().page({});
  ASSERT_TRUE(theirs.ok());
  ASSERT_TRUE(process("replica:third")->apply_page({}, theirs->frame, theirs->next, 0, {}).ok());
  EXPECT_EQ(count(), 31);
}

INSTANTIATE_TEST_SUITE_P(Stores, SyncsMeet, ::testing::Values(StoreKind::embedded, StoreKind::postgres),
                         [](const ::testing::TestParamInfo<StoreKind>& kind) {
                           return kind.param == StoreKind::embedded ? "Embedded" : "Postgres";
                         });

}  // namespace
}  // namespace rejoin::testing
