// Devices and a server's store, of either kind: whatever happens to the messages on the way, to the device's file or to
// the store, everything arrives once.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/support/store_world.h"

namespace rejoin::testing {
namespace {

const std::vector<StoreTable> kTables{
    {"todos", "id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0",
     "id text PRIMARY KEY, title text, done bigint DEFAULT 0"},
    {"notes", "a TEXT, b INTEGER, body BLOB, PRIMARY KEY(a, b)", "a text, b bigint, body bytea, PRIMARY KEY(a, b)"}};
const std::string kSchema =
    "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0);"
    "CREATE TABLE notes(a TEXT, b INTEGER, body BLOB, PRIMARY KEY(a, b)) WITHOUT ROWID;";
const std::vector<std::string> kNames{"todos", "notes"};
const std::string kTodos = "SELECT id, title, done FROM todos ORDER BY id";
// Blobs are shown unlike by the two databases.
const std::string kNotes = "SELECT a, b, length(body) AS size FROM notes ORDER BY a, b";
constexpr int64_t kTenYears = int64_t{10} * 365 * 24 * 3600 * 1000;

class StoreSessions : public ::testing::TestWithParam<StoreKind> {
 protected:
  StoreSessions() : world(StoreWorld::make(GetParam(), kTables)), a("a", kSchema, kNames), b("b", kSchema, kNames) {
    for (LoopbackDevice* device : {&a, &b}) {
      device->options.attempts = 3;
      device->caller.may_schema = false;
    }
  }

  static void write(LoopbackDevice& device, const std::string& prefix, int count) {
    const std::string numbers =
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<" + std::to_string(count) + ") ";
    device.peer.run(numbers + "INSERT INTO todos SELECT '" + prefix + "'||i, 'title of row number '||i, i%2 FROM n;" +
                    numbers + "INSERT INTO notes SELECT '" + prefix + "', i, zeroblob(i%50) FROM n");
  }
  void small_pages(uint64_t bytes) {
    for (LoopbackDevice* device : {&a, &b}) device->options.chunk_bytes = device->options.page_bytes = bytes;
  }
  void settle() {
    for (int i = 0; i < 2; ++i) world->sync(a), world->sync(b);
  }
  void settle_one(LoopbackDevice& device) {
    for (int i = 0; i < 2; ++i) world->sync(device);
  }
  void expect_shows(LoopbackDevice& device) {
    for (const std::string& sql : {kTodos, kNotes})
      EXPECT_EQ(difference(plain_rows(device.peer, sql), world->rows(sql)), "");
    device.peer.expect_sound();
  }
  void expect_same() {
    expect_shows(a), expect_shows(b);
    world->expect_sound();
  }
  Code code_of_forgetting(const std::string& device) {
    auto done = world->admin()->forget(device);
    return done.ok() ? Code::ok : done.error().code;
  }
  int64_t todos() { return world->number("SELECT count(*) FROM todos"); }
  static int64_t rejected(LoopbackDevice& device) {
    return device.peer.number("SELECT count(*) FROM rejoin_rejections");
  }

  std::unique_ptr<StoreWorld> world;
  LoopbackDevice a, b;
};

// Every fault at every exchange, in one session that tries again and across sessions that give up (a process that was
// killed), with others beside them.
TEST_P(StoreSessions, AnyMessageMayBeLostRepeatedCutOrChanged) {
  int made = 0;
  small_pages(1200);
  for (const int attempts : {3, 1}) {
    for (const Fault fault : {Fault::lose_request, Fault::lose_response, Fault::repeat_request, Fault::cut_request,
                              Fault::cut_response, Fault::flip_response, Fault::refuse}) {
      for (uint64_t at = 0; at < 6; ++at) {
        SCOPED_TRACE("fault " + std::to_string(static_cast<int>(fault)) + " at exchange " + std::to_string(at) + ", " +
                     std::to_string(attempts) + " attempts");
        for (LoopbackDevice* device : {&a, &b}) device->options.attempts = attempts;
        const std::string n = std::to_string(made++);
        write(a, "a" + n + "-", 20);
        write(b, "b" + n + "-", 20);
        world->run("INSERT INTO todos VALUES('s" + n +
                   "', 'direct', 1); UPDATE todos SET done = done + 1 WHERE id LIKE 'b%5'");
        world->sync(b);
        a.fault = [&](uint64_t number) { return number == at ? fault : Fault::none; };
        a.peer.clock().set(system_clock().now_ms());
        const sync::Done cut = a.sync(world->node());
        if (attempts > 1) {
          EXPECT_FALSE(cut.error) << cut.error->message;
        }
        a.fault = nullptr;
        world->sync(a);
        world->sync(b);
        EXPECT_EQ(todos(), made * 41);
      }
    }
  }
  settle();
  expect_same();
  EXPECT_EQ(world->kept("staged"), 0);
}

TEST_P(StoreSessions, AServerThatDropsHalfOfEverythingOnlyTakesLonger) {
  write(a, "a", 300);
  write(b, "b", 300);
  small_pages(2000);
  SeededRandom dice(42);
  a.fault = b.fault = [&](uint64_t) { return static_cast<Fault>(dice.u64() % 9 < 7 ? dice.u64() % 7 : 0); };
  for (int i = 0; i < 200; ++i) {
    const bool done = !a.sync(world->node()).error && !b.sync(world->node()).error;
    if (done && i > 5) break;
  }
  a.fault = b.fault = nullptr;
  settle();
  expect_same();
  EXPECT_EQ(todos(), 600);
}

// What waits for its transaction's end is not shown to anybody, and outlives the node that took it.
TEST_P(StoreSessions, AStreamThatIsCutIsTakenUpByAnotherNode) {
  small_pages(2000);
  a.options.attempts = 1;
  write(a, "a", 200);
  a.fault = [](uint64_t number) { return number == 5 ? Fault::lose_request : Fault::none; };
  a.peer.clock().set(system_clock().now_ms());
  EXPECT_TRUE(a.sync(world->node(1)).error);
  a.fault = nullptr;
  EXPECT_GT(world->kept("staged"), 0);
  world->sync(b, 2);
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM todos"), todos());
  world->sync(a, 2);
  world->sync(b, 1);
  expect_same();
  EXPECT_EQ(todos(), 200);
  EXPECT_EQ(world->kept("staged"), 0);
}

TEST_P(StoreSessions, AClonedFileGetsItsOwnSiteAndLosesNothing) {
  write(a, "a", 5);
  world->sync(a);
  a.peer.run("INSERT INTO todos VALUES('unsent', 'written before the copy', 0)");
  LoopbackDevice clone("a");
  clone.peer.database().copy_from(a.peer.database());
  ASSERT_EQ(clone.peer.site(), a.peer.site());
  a.peer.run("INSERT INTO todos VALUES('by-original', 'x', 0); UPDATE todos SET title='original' WHERE id='a1'");
  clone.peer.run("INSERT INTO todos VALUES('by-clone', 'y', 0); UPDATE todos SET done=9 WHERE id='a1'");
  world->sync(a);
  world->sync(clone);
  EXPECT_NE(clone.peer.site(), a.peer.site());
  settle();
  world->sync(clone);
  expect_same();
  expect_shows(clone);
  EXPECT_EQ(world->rows("SELECT id FROM todos WHERE id LIKE 'by-%' OR id='unsent' ORDER BY id"),
            "by-clone\nby-original\nunsent\n");
  EXPECT_EQ(world->rows("SELECT title, done FROM todos WHERE id='a1'"), "original|9\n");
}

// Such a backup has no token that could tell.
TEST_P(StoreSessions, WhatAFilePushedSinceABackupFromBeforeItsFirstPushStayedAway) {
  write(a, "a", 3);
  world->sync(a);
  for (const bool synced : {false, true}) {
    SCOPED_TRACE(synced);
    const std::string name = synced ? "synced" : "new";
    LoopbackDevice before(name, kSchema, kNames), restored(name);
    before.caller.may_schema = restored.caller.may_schema = false;
    if (synced) world->sync(before);
    restored.peer.database().copy_from(before.peer.database());
    write(before, name, 4);
    world->sync(before);
    world->sync(restored);
    EXPECT_NE(restored.peer.site(), before.peer.site());
    world->sync(restored);
    expect_shows(restored);
    // Who has pushed nothing, and came back from nowhere, stays what it is.
    const std::string site = restored.peer.site();
    world->sync(restored);
    EXPECT_EQ(restored.peer.site(), site);
  }
  settle();
  expect_same();
}

// Symptom: what it had written itself never came back to a file that was put back to before its first sync, if the
// server had it from another device, or had been told to forget this one.
TEST_P(StoreSessions, AFileThatWasPutBackToBeforeItsFirstSyncReadsItsOwnRowsToo) {
  for (const bool pushes : {false, true})
    for (const bool forgotten : {false, true}) {
      const std::string name = std::string(pushes ? "pushes" : "reads") + (forgotten ? "-forgotten" : "-relayed");
      SCOPED_TRACE(name);
      LoopbackDevice before(name, kSchema, kNames), restored(name);
      restored.peer.database().copy_from(before.peer.database());
      write(before, name, 3);
      if (forgotten) {
        world->sync(before);
        EXPECT_EQ(code_of_forgetting(name), Code::ok);
      } else {
        b.peer.apply(before.peer.changeset());
        b.caller.may_relay = true;
        world->sync(b);
      }
      if (pushes) write(restored, name + "-later", 2);
      // The first answer is lost: what it has to do it still has to do then.
      restored.options.attempts = 3;
      restored.fault = [](uint64_t at) { return at == 1 ? Fault::lose_response : Fault::none; };
      world->sync(restored);
      restored.fault = nullptr;
      world->sync(restored);
      expect_shows(restored);
      EXPECT_EQ(restored.peer.number("SELECT count(*) FROM todos WHERE id GLOB '" + name + "[0-9]*'"), 3);
      EXPECT_EQ(rejected(restored), 0);
    }
  settle();
  expect_same();
}

// Symptom: what a device had from others than the server, which knew it by another device, left at its first sync.
TEST_P(StoreSessions, AFirstContactTakesNothingThatTheServerNeverHad) {
  LoopbackDevice c("c", kSchema, kNames);
  write(a, "a", 3);
  b.peer.apply(a.peer.changeset());
  b.caller.may_relay = true;
  write(b, "gone", 2);
  write(c, "c", 2);
  settle_one(b);
  b.peer.run("DELETE FROM todos WHERE id GLOB 'gone*'");
  settle_one(b);
  world->age_device("b");
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  world->forget_deletions();
  EXPECT_EQ(todos(), 3);
  a.peer.apply(c.peer.changeset());
  settle_one(a);
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM todos WHERE id GLOB 'c*'"), 2);
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM todos"), 5);
  world->sync(c), settle_one(a), world->sync(b);
  EXPECT_EQ(todos(), 5);
  expect_same();
}

// Symptom: a row that was deleted between the pages of a stream was there again when the last one had come, on the
// device that had deleted it, and nowhere else.
TEST_P(StoreSessions, ADeletionIsNotForgottenWhilePagesWaitThatHaveItsRow) {
  write(a, "a", 1);
  write(b, "b", 400);
  settle();
  EXPECT_EQ(code_of_forgetting("a"), Code::ok);
  a.peer.run("UPDATE rejoin_peer SET is_default = 1");
  small_pages(1200);
  a.options.attempts = 1;
  // All of it comes anew, and is cut behind its second page.
  a.fault = [](uint64_t at) { return at == 3 ? Fault::lose_request : Fault::none; };
  EXPECT_TRUE(a.sync(world->node()).error);
  ASSERT_GT(a.peer.number("SELECT count(*) FROM rejoin_staged"), 0);
  a.peer.run("DELETE FROM todos WHERE id GLOB 'b*'");
  a.options.chunk_bytes = 100'000;
  a.fault = [](uint64_t at) { return at == 1 ? Fault::lose_request : Fault::none; };
  EXPECT_TRUE(a.sync(world->node()).error);
  a.fault = nullptr;
  ASSERT_GT(a.peer.number("SELECT count(*) FROM rejoin_staged"), 0);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 1);
  a.peer.clock().advance(1000);
  ASSERT_TRUE(a.peer.rejoin().compact(0).ok());
  settle();
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 1);
  expect_same();
  // Now nothing waits.
  a.peer.clock().advance(1000);
  ASSERT_TRUE(a.peer.rejoin().compact(0).ok());
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM todos__rejoin"), 1);
}

TEST_P(StoreSessions, AReaderThatNeverPushesKeepsItsSite) {
  write(a, "a", 3);
  world->sync(a);
  const std::string site = b.peer.site();
  for (int i = 0; i < 3; ++i) world->sync(b);
  EXPECT_EQ(b.peer.site(), site);
  b.peer.run("INSERT INTO todos VALUES('first', 'push', 0)");
  settle();
  EXPECT_EQ(b.peer.site(), site);
  expect_same();
}

TEST_P(StoreSessions, WhatAStoreLostByARestoreComesBackFromTheDevices) {
  write(a, "a", 50);
  write(b, "b", 50);
  settle();
  world->back_up();
  write(a, "later-a", 30);
  write(b, "later-b", 30);
  a.peer.run("UPDATE todos SET title='changed' WHERE id='b3'; DELETE FROM todos WHERE id='a4'");
  settle();
  const std::string before = world->rows(kTodos);
  world->go_back();
  EXPECT_EQ(todos(), 100);
  write(b, "zafter", 3);  // the restored one may have come as far as the lost positions before the others return
  world->sync(b);
  settle();
  settle();
  expect_same();
  EXPECT_EQ(world->rows("SELECT id, title, done FROM todos WHERE id NOT LIKE 'zafter%' ORDER BY id"), before);
}

// Inserts, edits and deletions of plain SQL, and what a device made of them: one device pushes and hears that its chain
// is unknown, the other has only read and hears that its cursor is.
TEST_P(StoreSessions, WhatPlainSqlWroteAndARestoreLostComesBackFromTheDevicesThatHaveIt) {
  write(a, "a", 5);
  world->run("INSERT INTO todos VALUES('s0', 'by SQL', 0), ('deleted', 'x', 0)");
  settle();
  world->back_up();
  world->run(
      "INSERT INTO todos VALUES('s1', 'by SQL', 1), ('s2', 'by SQL', 2); UPDATE todos SET title = 'by SQL, too' WHERE "
      "id "
      "= 'a1'; UPDATE todos SET done = 7 WHERE id = 's0'; DELETE FROM todos WHERE id = 'deleted'");
  settle();
  a.peer.run("UPDATE todos SET title = 'edited' WHERE id = 's1'; DELETE FROM todos WHERE id = 's2'");
  settle();
  const std::string before = world->rows(kTodos);
  world->go_back();
  settle();
  settle();
  EXPECT_EQ(world->rows(kTodos), before);
  expect_same();
  EXPECT_EQ(rejected(a) + rejected(b), 0) << plain_rows(a.peer, "SELECT key, reason FROM rejoin_rejections");
}

TEST_P(StoreSessions, AReaderAloneBringsBackWhatARestoreLost) {
  write(a, "a", 5);
  settle();
  world->back_up();
  world->run("INSERT INTO todos VALUES('s1', 'by SQL', 1); UPDATE todos SET title = 'by SQL, too' WHERE id = 'a1'");
  world->sync(b);
  const std::string before = world->rows(kTodos);
  world->go_back();
  world->sync(b);
  EXPECT_EQ(world->rows(kTodos), before);
  world->sync(a);
  expect_same();
}

// As far as the store can say it: a device does not send back what the store has said that it has.
TEST_P(StoreSessions, OnlyWhatARestoreMayHaveLostIsSentBack) {
  write(b, "b", 300);
  world->run("INSERT INTO todos SELECT 's' || id, 'by SQL', 0 FROM todos");
  settle();
  a.peer.run("INSERT INTO todos VALUES('a', 'x', 0)");
  settle();
  world->back_up();
  world->run("INSERT INTO todos VALUES('later', 'by SQL', 0)");
  world->sync(a);
  a.peer.run("INSERT INTO todos VALUES('a2', 'x', 0)");
  world->sync(a);
  world->go_back();
  EXPECT_EQ(world->sync(a).rows_pushed, 3u);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos WHERE id IN ('a', 'a2', 'later')"), 3);
  settle();
  expect_same();
}

TEST_P(StoreSessions, AStartOverThatIsCutGoesOnBringingBackWhatWasLost) {
  write(a, "a", 30);
  settle();
  world->back_up();
  world->run("INSERT INTO todos SELECT 's' || id, 'by SQL', 0 FROM todos");
  settle();
  write(a, "later", 1);
  settle();
  const std::string before = world->rows(kTodos);
  world->go_back();
  small_pages(150);
  a.options.attempts = 1;
  int cuts = 0;
  for (; cuts < 200; ++cuts) {
    a.fault = [&](uint64_t number) {
      return number == 2 ? (cuts % 2 ? Fault::lose_request : Fault::lose_response) : Fault::none;
    };
    a.peer.clock().set(system_clock().now_ms());
    if (!a.sync(world->node()).error) break;
  }
  a.fault = nullptr;
  EXPECT_GT(cuts, 3);
  world->sync(a);
  EXPECT_EQ(world->rows(kTodos), before);
  settle();
  expect_same();
}

// A stamp that was given once is not given again with another value: not even while what has it waits for the rest of
// its transaction.
TEST_P(StoreSessions, AStampThatDevicesKnowIsNotGivenTwiceAfterARestore) {
  write(a, "a", 40);
  settle();
  // Ahead of the clock the store counts on from what it knows.
  b.peer.clock().set(system_clock().now_ms() + 200'000);
  b.peer.run("INSERT INTO todos VALUES('ahead', 'x', 0)");
  b.must_sync(world->node());
  world->back_up();
  world->run("UPDATE todos SET title = 'first' WHERE id = 'a1'");
  world->sync(a);
  a.peer.run("UPDATE todos SET done = 3 WHERE id = 'a7'");
  world->sync(a);
  world->go_back();
  small_pages(800);
  a.options.attempts = 1;
  a.fault = [](uint64_t number) { return number >= 2 ? Fault::lose_request : Fault::none; };
  EXPECT_TRUE(a.sync(world->node()).error);
  EXPECT_GT(world->kept("staged"), 0);
  world->run("UPDATE todos SET title = 'second' WHERE id = 'a1'");
  world->sync(b);
  a.fault = nullptr;
  settle();
  settle();
  expect_same();
  EXPECT_EQ(world->rows("SELECT title FROM todos WHERE id = 'a1'"), "second\n");
}

TEST_P(StoreSessions, NothingIsTakenBackToAServerThatIsAnotherOne) {
  world->run("INSERT INTO todos VALUES('s1', 'by SQL', 1)");
  write(a, "a", 5);
  settle();
  a.peer.run("UPDATE todos SET done = 3 WHERE id = 's1'");
  settle();
  world = StoreWorld::make(GetParam(), kTables);
  world->sync(a);
  world->sync(a);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 5);
  EXPECT_EQ(rejected(a), 0) << plain_rows(a.peer, "SELECT key, reason FROM rejoin_rejections");
}

// --recover: b never comes back, and neither does the old server.
TEST_P(StoreSessions, AServerThatStartsEmptyGetsBackWhatADeviceHasThatMayRelay) {
  world->run("INSERT INTO todos VALUES('s1', 'by SQL', 1), ('s2', 'by SQL', 1)");
  write(a, "a", 5);
  write(b, "b", 5);
  settle();
  a.peer.run("UPDATE todos SET title = 'edited' WHERE id IN ('b1', 's1'); DELETE FROM todos WHERE id IN ('b2', 's2')");
  settle();
  const std::string before = world->rows(kTodos);
  world = StoreWorld::make(GetParam(), kTables);
  a.caller.may_relay = true;
  small_pages(800);
  world->sync(a);
  EXPECT_EQ(world->rows(kTodos), before);
  expect_shows(a);
  EXPECT_EQ(rejected(a), 0) << plain_rows(a.peer, "SELECT key, reason FROM rejoin_rejections");
}

// All that it has: of whom, and since when, only the server could say, which may have forgotten it.
TEST_P(StoreSessions, WhoMayRelayFromNowOnPushesAlsoWhatTheServerItselfHadWritten) {
  a.peer.run("INSERT INTO todos VALUES('a', 'x', 1)");
  b.peer.run("INSERT INTO todos VALUES('b', 'x', 1)");
  world->run("INSERT INTO todos VALUES('s', 'by SQL', 1)");
  settle();
  a.caller.may_relay = true;
  small_pages(50);
  EXPECT_EQ(world->sync(a).rows_pushed, 3u);
  EXPECT_EQ(world->sync(a).rows_pushed, 0u) << "once";
  expect_same();
}

// The child came from plain SQL and its parent from a device that comes back last. PostgreSQL refuses the child until
// then; the embedded store lets it wait.
TEST_P(StoreSessions, ARowThatWentBackToTheServerAndWasRefusedGoesAgainWhole) {
  const std::string parents = "id TEXT PRIMARY KEY, v TEXT";
  const std::string children = "id TEXT PRIMARY KEY, p TEXT REFERENCES parents(id), v TEXT";
  const std::string schema = "CREATE TABLE parents(" + parents + "); CREATE TABLE children(" + children + ")";
  for (const bool edited : {false, true}) {
    SCOPED_TRACE(edited ? "edited by the device that brings it back" : "as the server wrote it");
    world = StoreWorld::make(GetParam(), {{"parents", parents, ""}, {"children", children, ""}});
    LoopbackDevice d("d", schema, {"parents", "children"}), x("x", schema, {"parents", "children"});
    for (LoopbackDevice* device : {&d, &x}) device->caller.may_schema = false;
    x.peer.run("INSERT INTO parents VALUES('of x', 'x')");
    d.peer.run("INSERT INTO parents VALUES('of d', 'x')");
    world->sync(x), world->sync(d);
    world->back_up();
    x.peer.run("INSERT INTO parents VALUES('p', 'x')");
    world->sync(x);
    world->run("INSERT INTO children VALUES('c', 'p', 'by SQL')");
    world->sync(d);
    d.peer.run("UPDATE parents SET v = 'y' WHERE id = 'of d'");
    if (edited) d.peer.run("UPDATE children SET v = 'edited' WHERE id = 'c'");
    world->sync(d);
    const std::string before = world->rows("SELECT * FROM children");
    world->go_back();
    world->sync(d);
    EXPECT_EQ(rejected(d), GetParam() == StoreKind::postgres ? 1 : 0);
    world->sync(x);
    EXPECT_TRUE(d.peer.rejoin().retry().ok());
    world->sync(d);
    EXPECT_EQ(world->rows("SELECT * FROM children"), before);
    EXPECT_EQ(rejected(d), 0) << plain_rows(d.peer, "SELECT key, reason FROM rejoin_rejections");
    world->sync(x);
    for (LoopbackDevice* device : {&d, &x}) EXPECT_EQ(plain_rows(device->peer, "SELECT * FROM children"), before);
  }
}

TEST_P(StoreSessions, AServerThatIsRecoveredAtAnotherAddressGetsWhatADeviceHasThatMayRelay) {
  write(a, "a", 5);
  settle();
  world->back_up();
  write(b, "b", 5);
  settle();
  const std::string before = world->rows(kTodos);
  world->go_back();
  world->sync(a), world->sync(a);
  EXPECT_EQ(todos(), 5);
  a.url = "http://moved";
  a.caller.may_relay = true;
  world->sync(a);
  EXPECT_EQ(world->rows(kTodos), before);
  expect_shows(a);
  EXPECT_EQ(rejected(a), 0) << plain_rows(a.peer, "SELECT key, reason FROM rejoin_rejections");
}

TEST_P(StoreSessions, AClockTenYearsAheadNeitherWinsNorBlocks) {
  write(a, "x", 3);
  settle();
  a.peer.clock().set(system_clock().now_ms() + kTenYears);
  a.peer.run("UPDATE todos SET title='from the future' WHERE id='x1'");
  a.must_sync(world->node());
  EXPECT_EQ(world->rows("SELECT title FROM todos WHERE id='x1'"), "from the future\n");
  world->sync(b);
  b.peer.clock().set(system_clock().now_ms() + 2000);
  b.peer.run("UPDATE todos SET title='later' WHERE id='x1'");
  (void)b.peer.rejoin().fold();
  world->sync(b);
  a.must_sync(world->node());
  EXPECT_EQ(a.peer.rows("SELECT title FROM todos WHERE id='x1'"), "'later'\n");
  // And the device with the wrong clock can go on.
  a.peer.run("UPDATE todos SET title='still me' WHERE id='x2'");
  a.must_sync(world->node());
  world->sync(b);
  expect_same();
  EXPECT_EQ(world->rows("SELECT title FROM todos WHERE id='x2'"), "still me\n");
}

TEST_P(StoreSessions, AClockTenYearsBehindSeesEverythingAndLosesNothing) {
  write(b, "x", 3);
  world->sync(b);
  a.peer.clock().set(system_clock().now_ms() - kTenYears);
  write(a, "old", 3);
  for (int i = 0; i < 2; ++i) a.must_sync(world->node()), world->sync(b);
  expect_same();
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM todos"), 6);
  a.peer.run("UPDATE todos SET title='edited by the slow clock' WHERE id='x1'");
  for (int i = 0; i < 2; ++i) a.must_sync(world->node()), world->sync(b);
  expect_same();
  EXPECT_EQ(world->rows("SELECT title FROM todos WHERE id='x1'"), "edited by the slow clock\n");
}

TEST_P(StoreSessions, ARowRefusedForItsSizeGoesUpWholeWhenItFits) {
  world->node().settings.max_value_bytes = 1000;
  world->sync(a);
  a.peer.run(
      "INSERT INTO todos VALUES('long', hex(zeroblob(2000)), 1), ('longer', hex(zeroblob(3000)), 1), ('short', 'x', "
      "1)");
  world->sync(a);
  EXPECT_EQ(rejected(a), 2);
  a.peer.run("UPDATE todos SET title='shortened' WHERE id='long'");
  settle();
  EXPECT_EQ(world->rows(kTodos), "long|shortened|1\nlonger|null|1\nshort|x|1\n");
  EXPECT_EQ(a.peer.rows("SELECT key FROM rejoin_rejections"), "'[\"longer\"]'\n");
  world->node().settings.max_value_bytes = 10'000;
  settle();
  EXPECT_EQ(world->number("SELECT length(title) FROM todos WHERE id='longer'"), 6000);
  EXPECT_EQ(rejected(a), 0);
  expect_same();
}

TEST_P(StoreSessions, UnknownTablesAndColumnsAreRefusedUntilTheyAreThere) {
  const std::string wider = kSchema + "CREATE TABLE extra(id TEXT PRIMARY KEY, v TEXT)";
  LoopbackDevice guest("g", wider, {"todos", "notes", "extra"});
  guest.caller.may_schema = false;
  guest.peer.run(
      "ALTER TABLE todos ADD COLUMN prio INTEGER DEFAULT 5; INSERT INTO todos VALUES('p', 'with prio', 0, 9);"
      "INSERT INTO todos(id, title) VALUES('q', 'without');"
      "INSERT INTO extra VALUES('x', 'y'), ('gone', 'z')");
  EXPECT_EQ(world->sync(guest).rows_refused, 4u);
  settle();
  EXPECT_EQ(world->rows("SELECT id, title FROM todos ORDER BY id"), "p|with prio\nq|without\n");
  EXPECT_EQ(rejected(guest), 4);
  expect_same();
  EXPECT_EQ(world->sync(guest).round_trips, 1u);
  // An edit of a refused row is not pushed as an edit: the server has nothing of the row.
  guest.peer.run("UPDATE extra SET v='edited' WHERE id='x'; DELETE FROM extra WHERE id='gone'");
  world->sync(guest);
  // Whoever has them, and may, makes them.
  LoopbackDevice owner("o", wider + ";ALTER TABLE todos ADD COLUMN prio INTEGER DEFAULT 5",
                       {"todos", "notes", "extra"});
  world->sync(owner);
  for (int i = 0; i < 2; ++i) world->sync(guest);
  EXPECT_EQ(world->rows("SELECT id, prio FROM todos ORDER BY id"), "p|9\nq|5\n");
  EXPECT_EQ(world->rows("SELECT id, v FROM extra"), "x|edited\n");
  EXPECT_EQ(rejected(guest), 0) << guest.peer.rows("SELECT reason FROM rejoin_rejections");
  world->sync(owner);
  EXPECT_EQ(plain_rows(owner.peer, "SELECT id, prio FROM todos ORDER BY id"), "p|9\nq|5\n");
  world->expect_sound();
}

TEST_P(StoreSessions, CellsOfOtherSitesNeedTheRelayClaim) {
  write(a, "a", 4);
  b.peer.apply(a.peer.changeset());  // peer to peer
  world->sync(b);
  EXPECT_EQ(todos(), 0);
  LoopbackDevice relay("r", kSchema, kNames);
  relay.caller.may_relay = true;
  relay.peer.apply(a.peer.changeset());
  world->sync(relay);  // learns that it may
  world->sync(relay);
  EXPECT_EQ(todos(), 4);
  settle();
  expect_same();
}

TEST_P(StoreSessions, ADeviceThatWasForgottenComesBackAndLosesNothing) {
  write(a, "a", 5);
  write(b, "b", 5);
  settle();
  EXPECT_EQ(code_of_forgetting("nobody"), Code::not_found);
  auto devices = world->admin()->devices();
  ASSERT_TRUE(devices.ok()) << devices.error().message;
  ASSERT_EQ(devices->size(), 2u);
  EXPECT_EQ((*devices)[0].device, "a");
  EXPECT_EQ(std::string((*devices)[0].site.view()), a.peer.site());
  EXPECT_GT((*devices)[1].last_seen_ms, 0);
  const std::string site = a.peer.site();
  EXPECT_EQ(code_of_forgetting("a"), Code::ok);
  EXPECT_EQ(world->kept("device"), 1);
  EXPECT_EQ(code_of_forgetting("a"), Code::not_found);
  // Both write meanwhile.
  a.peer.run("UPDATE todos SET title='unsent' WHERE id='b2'; INSERT INTO todos VALUES('unsent', 'x', 0)");
  b.peer.run("DELETE FROM todos WHERE id='a3'; UPDATE todos SET done=7 WHERE id='a1'");
  world->sync(b);
  settle();
  expect_same();
  EXPECT_EQ(a.peer.site(), site);
  EXPECT_EQ(world->rows("SELECT id, title, done FROM todos WHERE id IN ('b2', 'unsent', 'a3', 'a1') ORDER BY id"),
            "a1|title of row number 1|7\nb2|unsent|0\nunsent|x|0\n");
  EXPECT_EQ(rejected(a), 0);
}

// Half of a transaction that nobody will finish goes too, and comes again if its device does.
TEST_P(StoreSessions, ForgettingADeviceFreesWhatItHadBegun) {
  small_pages(2000);
  a.options.attempts = 1;
  write(a, "a", 200);
  a.fault = [](uint64_t number) { return number == 5 ? Fault::lose_request : Fault::none; };
  a.peer.clock().set(system_clock().now_ms());
  EXPECT_TRUE(a.sync(world->node()).error);
  a.fault = nullptr;
  auto devices = world->admin()->devices();
  ASSERT_TRUE(devices.ok() && devices->size() == 1);
  EXPECT_GT((*devices)[0].staged_bytes, 1000u);
  EXPECT_EQ(code_of_forgetting("a"), Code::ok);
  EXPECT_EQ(world->kept("staged"), 0);
  a.options.attempts = 3;
  settle();
  expect_same();
  EXPECT_EQ(todos(), 200);
}

TEST_P(StoreSessions, ATenantIsSummedUp) {
  write(a, "a", 5);
  settle();
  a.peer.run("DELETE FROM todos WHERE id='a3'");
  world->sync(a);
  auto info = world->admin()->info();
  ASSERT_TRUE(info.ok()) << info.error().message;
  EXPECT_EQ(info->devices, 1u);  // b has pushed nothing
  EXPECT_EQ(info->rows, 9u);
  EXPECT_EQ(info->deleted, 1u);
  EXPECT_GT(info->log_rows, 0u);
  EXPECT_GT(info->bytes, 0u);
  EXPECT_GT(info->last_seen_ms, 0);
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreSessions, ::testing::Values(StoreKind::embedded, StoreKind::postgres),
                         [](const auto& of) { return of.param == StoreKind::embedded ? "embedded" : "postgres"; });

}  // namespace
}  // namespace rejoin::testing
