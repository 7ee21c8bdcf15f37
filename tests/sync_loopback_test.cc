// Two real engines and the two sessions between them: everything arrives, whatever happens to the messages on the way.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/sync_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kSchema =
    "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0);"
    "CREATE TABLE notes(a TEXT, b TEXT, body, PRIMARY KEY(a, b)) WITHOUT ROWID;";
const std::vector<std::string> kTables{"todos", "notes"};
const std::string kAll = "SELECT 't', * FROM todos UNION ALL SELECT 'n', * FROM notes ORDER BY 1, 2, 3";

class SyncLoopback : public ::testing::Test {
 protected:
  SyncLoopback() : a("a", kSchema, kTables), b("b", kSchema, kTables) {
    for (LoopbackDevice* device : {&a, &b}) device->options.attempts = 3;
  }

  // Rows of both tables, `from` on.
  static void write(LoopbackDevice& device, const std::string& prefix, int from, int count) {
    device.peer.run("WITH RECURSIVE n(i) AS (VALUES(" + std::to_string(from) +
                    ") UNION ALL SELECT i+1 FROM n WHERE i<" + std::to_string(from + count - 1) +
                    ") INSERT INTO todos SELECT '" + prefix +
                    "'||i, 'title of row number '||i, i%2 FROM n;"
                    "WITH RECURSIVE n(i) AS (VALUES(" +
                    std::to_string(from) + ") UNION ALL SELECT i+1 FROM n WHERE i<" + std::to_string(from + count - 1) +
                    ") INSERT INTO notes SELECT '" + prefix + "', i, zeroblob(i%50) FROM n");
  }

  void small_pages(uint64_t bytes) {
    for (LoopbackDevice* device : {&a, &b}) device->options.chunk_bytes = device->options.page_bytes = bytes;
  }

  void expect_same() {
    const std::string truth = server.peer().rows(kAll);
    EXPECT_EQ(difference(a.peer.rows(kAll), truth), "");
    EXPECT_EQ(difference(b.peer.rows(kAll), truth), "");
    for (Peer* peer : {&a.peer, &b.peer, &server.peer()}) peer->expect_sound();
  }

  void settle() {
    for (int i = 0; i < 2; ++i) {
      a.must_sync(server);
      b.must_sync(server);
    }
  }

  LoopbackServer server;
  LoopbackDevice a, b;
};

TEST_F(SyncLoopback, EmptyDevicesSyncInOneRoundTripOrTwo) {
  const sync::SyncTotals totals = a.must_sync(server);
  EXPECT_LE(totals.round_trips, 2u);  // the contract goes first
  EXPECT_EQ(a.must_sync(server).round_trips, 1u);
}

TEST_F(SyncLoopback, WritesOfBothArriveAtBoth) {
  write(a, "a", 0, 20);
  write(b, "b", 0, 20);
  const sync::SyncTotals pushed = a.must_sync(server);
  EXPECT_EQ(pushed.rows_pushed, 40u);
  const sync::SyncTotals both = b.must_sync(server);
  EXPECT_EQ(both.rows_pushed, 40u);
  EXPECT_EQ(both.rows_pulled, 40u);
  a.must_sync(server);
  expect_same();
  EXPECT_EQ(a.must_sync(server).rows_pulled, 0u);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 40);
}

// Symptom: the first sync with a token that has `relay` left others' changes for the second one.
TEST_F(SyncLoopback, WhatADeviceGotFromAnotherGoesUpWithItsFirstSync) {
  LoopbackDevice relay("relay", kSchema, kTables);
  relay.caller.may_relay = true;
  write(a, "a", 0, 20);
  relay.peer.fetch(a.peer);
  write(relay, "relay", 0, 20);
  relay.must_sync(server);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 40);
  const sync::SyncTotals again = relay.must_sync(server);
  EXPECT_EQ(again.rows_pushed, 0u);
  EXPECT_EQ(again.round_trips, 1u);
  // Also when it was not allowed before.
  relay.caller.may_relay = false;
  write(a, "a", 20, 20);
  relay.peer.fetch(a.peer);
  relay.must_sync(server);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 40);
  relay.caller.may_relay = true;
  relay.must_sync(server);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 60);
}

TEST_F(SyncLoopback, LargeBacklogsGoInChunksOfBoundedSize) {
  write(a, "a", 0, 3000);
  write(b, "b", 0, 2000);
  small_pages(8 << 10);
  const sync::SyncTotals pushed = a.must_sync(server);
  EXPECT_EQ(pushed.rows_pushed, 6000u);
  EXPECT_GT(pushed.round_trips, 10u);
  b.must_sync(server);
  a.must_sync(server);
  expect_same();
  EXPECT_LT(a.largest_message, 64u << 10);
  EXPECT_LT(b.largest_message, 64u << 10);
}

TEST_F(SyncLoopback, ColumnsEditedAtBothSidesBothSurvive) {
  write(a, "x", 0, 1);
  settle();
  a.peer.run("UPDATE todos SET title='by a' WHERE id='x0'");
  b.peer.run("UPDATE todos SET done=7 WHERE id='x0'");
  settle();
  expect_same();
  EXPECT_EQ(server.peer().rows("SELECT title, done FROM todos"), "'by a'|7\n");
}

// Whatever was under way when a server said "not now", the contract that it had asked for included, comes again.
TEST_F(SyncLoopback, ARefusalInHasteOnlyTakesLonger) {
  write(a, "a", 0, 60);
  a.fault = [](uint64_t number) { return number % 2 == 1 ? Fault::refuse : Fault::none; };
  a.must_sync(server);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 60);
}

TEST_F(SyncLoopback, AcknowledgementLosesNoWriteMadeMeanwhile) {
  write(a, "a", 0, 50);
  small_pages(1000);
  int written = 0;
  a.during_request = [&](uint64_t) {
    a.peer.run("INSERT INTO todos VALUES('q" + std::to_string(written++) + "', 'while asking', 0)");
  };
  a.during_response = [&](uint64_t) {
    a.peer.run("UPDATE todos SET done=done+10 WHERE id='a0'; INSERT INTO todos VALUES('r" + std::to_string(written++) +
               "', 'while waiting', 0)");
  };
  a.must_sync(server);
  a.during_request = a.during_response = nullptr;
  settle();
  expect_same();
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 50 + written);
}

TEST_F(SyncLoopback, ADeviceRestoredFromItsOwnBackupGoesOn) {
  write(a, "a", 0, 5);
  a.must_sync(server);
  LoopbackDevice backup("a");
  backup.peer.database().copy_from(a.peer.database());
  write(a, "a", 5, 5);
  a.must_sync(server);
  backup.peer.run("INSERT INTO todos VALUES('after-restore', 'z', 0)");
  backup.must_sync(server);
  backup.must_sync(server);
  settle();
  expect_same();
  EXPECT_EQ(difference(backup.peer.rows(kAll), server.peer().rows(kAll)), "");
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 11);
}

TEST_F(SyncLoopback, AServerThatIsReplacedByAnEmptyOneIsFilledAgain) {
  write(a, "a", 0, 30);
  write(b, "b", 0, 30);
  settle();
  const std::string before = server.peer().rows(kAll);
  LoopbackServer empty;
  for (int i = 0; i < 2; ++i) {
    a.must_sync(empty);
    b.must_sync(empty);
  }
  EXPECT_EQ(difference(empty.peer().rows(kAll), before), "");
}

TEST_F(SyncLoopback, OversizedRowsAreRefusedAloneAndTheRestGoesThrough) {
  server.settings.max_value_bytes = 10'000;
  server.settings.max_frame_bytes = 50'000;
  write(a, "a", 0, 10);
  a.peer.run("INSERT INTO todos VALUES('value', hex(zeroblob(6000)), 0)");  // a value above the limit
  a.peer.run("INSERT INTO notes VALUES('frame', 'x', zeroblob(100000))");   // above the frame's limit too
  write(a, "z", 0, 10);
  a.must_sync(server);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 21);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM notes"), 21);
  EXPECT_EQ(server.peer().rows("SELECT title, done FROM todos WHERE id='value'"), "null|0\n");
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM rejoin_rejections"), 2)
      << a.peer.rows("SELECT * FROM rejoin_rejections");
  b.must_sync(server);
  EXPECT_EQ(difference(b.peer.rows(kAll), server.peer().rows(kAll)), "");
  a.peer.run("INSERT INTO todos VALUES('next', 'still works', 0)");
  a.must_sync(server);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos WHERE id='next'"), 1);
}

TEST_F(SyncLoopback, RowsOfManyValuesAboveTheFrameLimitDoNotBlock) {
  server.settings.max_value_bytes = 20'000;
  server.settings.max_frame_bytes = 30'000;
  const std::string wide = "CREATE TABLE wide(id TEXT PRIMARY KEY, x, y, z)";
  LoopbackDevice device("w", wide, {"wide"});
  device.peer.run(
      "INSERT INTO wide VALUES('small', 1, 2, 3), ('wide', randomblob(15000), randomblob(15000), randomblob(15000)), "
      "('last', 4, 5, 6)");
  device.must_sync(server);
  EXPECT_EQ(server.peer().rows("SELECT * FROM wide ORDER BY id"),
            "'last'|4|5|6\n'small'|1|2|3\n'wide'|null|null|null\n");
  EXPECT_EQ(device.peer.number("SELECT count(*) FROM rejoin_rejections"), 1);
}

TEST_F(SyncLoopback, ContractsAreAskedForOnceAndGrow) {
  a.must_sync(server);
  EXPECT_EQ(server.exchanges, 2u);
  b.must_sync(server);  // the same contract: known
  EXPECT_EQ(server.exchanges, 3u);
  a.peer.run(
      "ALTER TABLE todos ADD COLUMN prio INTEGER DEFAULT 5; INSERT INTO todos(id, title, prio) VALUES('p', 'with "
      "prio', 9)");
  a.must_sync(server);
  EXPECT_EQ(server.peer().rows("SELECT id, prio FROM todos"), "'p'|9\n");
  // The device that does not know the column yet takes the rest, and shows the column when it grows.
  b.must_sync(server);
  EXPECT_EQ(b.peer.rows("SELECT id, title FROM todos"), "'p'|'with prio'\n");
  b.peer.run("ALTER TABLE todos ADD COLUMN prio INTEGER DEFAULT 5");
  b.must_sync(server);
  EXPECT_EQ(b.peer.rows("SELECT id, prio FROM todos"), "'p'|9\n");
}

TEST_F(SyncLoopback, WithoutTheSchemaClaimUnknownTablesAreRefusedRowByRow) {
  a.must_sync(server);
  LoopbackDevice guest("g", kSchema + "CREATE TABLE secret(id TEXT PRIMARY KEY)", {"todos", "notes", "secret"});
  guest.caller.may_schema = false;
  write(guest, "g", 0, 3);
  guest.peer.run("INSERT INTO secret VALUES('x')");
  const sync::SyncTotals totals = guest.must_sync(server);
  EXPECT_EQ(totals.rows_refused, 1u);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 3);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM sqlite_schema WHERE name='secret'"), 0);
  EXPECT_EQ(guest.peer.number("SELECT count(*) FROM rejoin_rejections WHERE table_name='secret'"), 1);
  EXPECT_EQ(guest.must_sync(server).round_trips, 1u);
  // With the claim, later, the table is made and its rows can go.
  guest.caller.may_schema = true;
  guest.peer.run("INSERT INTO secret VALUES('y')");
  guest.must_sync(server);
  EXPECT_EQ(server.peer().rows("SELECT id FROM secret WHERE id='y'"), "'y'\n");
}

TEST_F(SyncLoopback, ATooLargeValueHoldsBackNeitherOtherColumnsNorTheDeletion) {
  server.settings.max_value_bytes = 1000;
  write(a, "x", 0, 3);
  settle();
  a.peer.run("UPDATE todos SET title=hex(zeroblob(1000)) WHERE id IN ('x0', 'x1')");
  a.must_sync(server);
  a.peer.run("DELETE FROM todos WHERE id='x0'; UPDATE todos SET done=7 WHERE id='x1'");
  a.must_sync(server);
  b.must_sync(server);
  EXPECT_EQ(b.peer.rows("SELECT id, title, done FROM todos ORDER BY id"),
            "'x1'|'title of row number 1'|7\n'x2'|'title of row number 2'|0\n");
  EXPECT_EQ(a.peer.rows("SELECT key FROM rejoin_rejections"), "'[\"x1\"]'\n");
}

TEST_F(SyncLoopback, ATableThatIsTrackedAgainGetsWhatTheOthersHave) {
  write(a, "x", 0, 4);
  settle();
  ASSERT_TRUE(a.peer.rejoin().untrack("todos").ok());
  a.peer.run(
      "UPDATE todos SET title='lost' WHERE id='x1'; DELETE FROM todos WHERE id='x2'; "
      "INSERT INTO todos VALUES('x9', 'new', 0)");
  a.peer.track("todos");
  settle();
  settle();
  expect_same();
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 5);
}

TEST_F(SyncLoopback, ARenamedTableIsRenamedEverywhereInTheEnd) {
  write(a, "x", 0, 4);
  settle();
  a.peer.run("ALTER TABLE todos RENAME TO tasks; INSERT INTO tasks VALUES('after', 'x', 0)");
  settle();
  b.peer.run("ALTER TABLE todos RENAME TO tasks; UPDATE tasks SET done=5 WHERE id='x3'");
  settle();
  settle();
  for (LoopbackDevice* device : {&a, &b}) {
    EXPECT_EQ(device->peer.rows("SELECT id, done FROM tasks ORDER BY id"),
              "'after'|0\n'x0'|0\n'x1'|1\n'x2'|0\n'x3'|5\n");
    device->peer.expect_sound();
  }
}

TEST_F(SyncLoopback, ARowWithAnothersDeletionGoesToAServerThatLostBoth) {
  write(a, "x", 0, 2);
  settle();
  b.peer.run("DELETE FROM todos WHERE id='x1'");
  settle();
  LoopbackServer empty;
  a.must_sync(empty);
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM rejoin_rejections"), 0)
      << a.peer.rows("SELECT * FROM rejoin_rejections");
  b.must_sync(empty);
  a.must_sync(empty);
  EXPECT_EQ(difference(a.peer.rows(kAll), empty.peer().rows(kAll)), "");
  EXPECT_EQ(empty.peer().rows("SELECT id FROM todos"), "'x0'\n");
}

TEST_F(SyncLoopback, ARestoredDeviceThatOnlyReadsGetsItsOwnWritesBack) {
  write(a, "a", 0, 5);
  a.must_sync(server);
  LoopbackDevice backup("a");
  backup.peer.database().copy_from(a.peer.database());
  write(a, "later", 0, 5);
  a.must_sync(server);
  backup.must_sync(server);
  EXPECT_EQ(difference(backup.peer.rows(kAll), server.peer().rows(kAll)), "");
  EXPECT_NE(backup.peer.site(), a.peer.site());
}

TEST_F(SyncLoopback, TwoProcessesOnOneFileStayOneReplica) {
  write(a, "a", 0, 5);
  a.must_sync(server);
  const std::string site = a.peer.site();
  // While a request is on its way with the old token, another process on the file pushes and gets the next one.
  LoopbackDevice& other = a;
  bool once = true;
  a.during_request = [&](uint64_t) {
    if (!once) return;
    once = false;
    auto store = sqlite::make_device_store(other.peer.rejoin(), "http://server");
    other.peer.run("INSERT INTO todos VALUES('by the other', 'x', 0)");
    auto hook = std::move(other.during_request);
    other.must_sync(server);
    other.during_request = std::move(hook);
  };
  a.must_sync(server);
  EXPECT_EQ(a.peer.site(), site);
  EXPECT_EQ(difference(a.peer.rows(kAll), server.peer().rows(kAll)), "");
}

TEST_F(SyncLoopback, WritesMadeAfterASessionWasKilledGoUpInTheNextOne) {
  write(a, "a", 0, 5);
  a.options.attempts = 1;
  a.fault = [](uint64_t number) { return number == 1 ? Fault::lose_request : Fault::none; };
  EXPECT_TRUE(a.sync(server).error);  // the chunk is frozen now
  a.fault = nullptr;
  write(a, "later", 0, 5);
  a.must_sync(server);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 10);
}

TEST_F(SyncLoopback, ADeviceCannotSpeakAsTheSiteOfAnother) {
  write(a, "a", 0, 3);
  a.must_sync(server);
  LoopbackDevice thief("thief");
  thief.peer.database().copy_from(a.peer.database());
  thief.peer.run("UPDATE rejoin_peer SET chain_token=NULL; UPDATE todos SET title='forged'");
  ASSERT_EQ(thief.peer.site(), a.peer.site());
  thief.must_sync(server);
  EXPECT_NE(thief.peer.site(), a.peer.site());
}

TEST_F(SyncLoopback, AServerThatMovesToAnotherAddressIsTheSameServer) {
  write(a, "a", 0, 5);
  a.must_sync(server);
  const std::string site = a.peer.site();
  write(a, "later", 0, 5);
  a.url = "https://elsewhere";
  EXPECT_EQ(a.must_sync(server).rows_pushed, 10u);
  EXPECT_EQ(a.peer.site(), site);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 10);
  // A copy that is taken for it meanwhile is found out all the same.
  LoopbackDevice copy("a");
  copy.peer.database().copy_from(a.peer.database());
  write(a, "still", 0, 1);
  a.must_sync(server);
  copy.url = "https://third";
  write(copy, "copy", 0, 1);
  copy.must_sync(server);
  EXPECT_NE(copy.peer.site(), site);
  EXPECT_EQ(server.peer().number("SELECT count(*) FROM todos"), 12);
}

TEST_F(SyncLoopback, ADamagedPullCursorStartsFromTheBeginning) {
  write(a, "a", 0, 4);
  a.must_sync(server);
  b.must_sync(server);
  write(a, "more", 0, 4);
  a.must_sync(server);
  b.peer.run("UPDATE rejoin_peer SET pull_cursor=x'00112233'");
  b.must_sync(server);
  EXPECT_EQ(difference(b.peer.rows(kAll), server.peer().rows(kAll)), "");
}

}  // namespace
}  // namespace rejoin::testing
