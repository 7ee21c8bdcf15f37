// Compaction, by rejoin_compact() and by itself after a sync, goes on in several transactions, so that other writers
// wait for a bounded part of it only; inside the application's own transaction it is a part of that.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/support/peer.h"
#include "tests/support/sync_loopback.h"

namespace rejoin::testing {
namespace {

constexpr int64_t kRows = 300'000;

class CompactionInParts : public ::testing::Test {
 protected:
  CompactionInParts() {
    peer.run("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < " + std::to_string(kRows) +
             ") INSERT INTO t SELECT i, 'text' FROM n");
    peer.run("DELETE FROM t WHERE id % 3 = 0");
    peer.seq();
    sqlite3_commit_hook(
        peer.handle(), [](void* count) { return ++*static_cast<int*>(count), 0; }, &commits);
  }
  void expect_compacted() {
    EXPECT_EQ(peer.number("SELECT count(*) FROM rejoin_log"), 1);
    EXPECT_EQ(peer.number("SELECT count(*) FROM t__rejoin"), kRows - kRows / 3);
    peer.expect_sound();
  }
  // Everything that was written: the rows, the deletions, and the log of both.
  void compact() {
    auto removed = peer.rejoin().compact(0);
    EXPECT_TRUE(removed.ok()) << removed.error().message;
  }

  Peer peer{"CREATE TABLE t(id TEXT PRIMARY KEY, text TEXT)", {"t"}};
  int commits = 0;
};

TEST_F(CompactionInParts, SeveralTransactions) {
  compact();
  EXPECT_GE(commits, 4);
  expect_compacted();
}

TEST_F(CompactionInParts, OneInsideATransactionOfTheApplication) {
  peer.run("BEGIN");
  compact();
  EXPECT_EQ(commits, 0);
  peer.run("COMMIT");
  expect_compacted();
}

// How many log entries each transaction forgot.
struct Forgotten {
  explicit Forgotten(sqlite3* db) {
    sqlite3_update_hook(
        db,
        [](void* self, int what, const char*, const char* table, sqlite3_int64) {
          if (what == SQLITE_DELETE && !std::strcmp(table, "rejoin_log")) ++static_cast<Forgotten*>(self)->now;
        },
        this);
    sqlite3_commit_hook(
        db,
        [](void* self) {
          auto& of = *static_cast<Forgotten*>(self);
          of.most = std::max(of.most, of.now);
          of.all += std::exchange(of.now, 0);
          return 0;
        },
        this);
  }
  int64_t now = 0, most = 0, all = 0;
};

TEST(CompactionAfterASync, SeveralTransactions) {
  LoopbackServer server;
  LoopbackDevice device("a", "CREATE TABLE t(id TEXT PRIMARY KEY, text TEXT)", {"t"});
  device.peer.run("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < " + std::to_string(kRows) +
                  ") INSERT INTO t SELECT i, 'text' FROM n");
  Forgotten forgotten(device.peer.handle());
  device.must_sync(server);
  EXPECT_GT(forgotten.all, kRows - 10);
  EXPECT_LT(forgotten.most, kRows / 2);
  EXPECT_LE(device.peer.number("SELECT count(*) FROM rejoin_log"), 10);
  device.peer.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
