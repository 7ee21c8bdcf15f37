// Clocks that are years off, jump between transactions, or differ between two processes on one file: what was written
// last on a device stays last, replicas agree, and nobody's clock is taken along into the future.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/model_run.h"
#include "tests/support/sync_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v, w)";
const std::string kAll = "SELECT * FROM t ORDER BY id";
constexpr int64_t kYear = int64_t{365} * 24 * 3600 * 1000;

class BadClocks : public ::testing::Test {
 protected:
  BadClocks() : a("a", kSchema, {"t"}), b("b", kSchema, {"t"}) {}
  void settle() {
    for (int i = 0; i < 2; ++i) a.must_sync(server), b.must_sync(server);
  }
  void expect_same() {
    const std::string truth = server.peer().rows(kAll);
    EXPECT_EQ(a.peer.rows(kAll), truth);
    EXPECT_EQ(b.peer.rows(kAll), truth);
    for (Peer* p : {&server.peer(), &a.peer, &b.peer}) p->expect_sound();
  }
  int64_t newest_ms() { return server.peer().number("SELECT last >> 16 FROM rejoin_state"); }
  LoopbackServer server;
  LoopbackDevice a, b;
};

TEST_F(BadClocks, YearsAheadAndThenSetRight) {
  const int64_t now = server.peer().clock().now_ms();
  a.peer.clock().advance(10 * kYear);
  a.peer.run("INSERT INTO t VALUES('k', 'from the future', 1)");
  settle();
  EXPECT_LE(newest_ms(), now + server.settings.drift_ms);
  b.peer.clock().advance(1000), server.peer().clock().advance(1000);
  b.peer.run("UPDATE t SET v = 'later'");
  settle();
  EXPECT_EQ(a.peer.rows(kAll), "'k'|'later'|1\n");
  a.peer.run("UPDATE t SET v = 'still ahead'");
  settle();
  a.peer.clock().set(server.peer().clock().now_ms());
  a.peer.run("UPDATE t SET w = 2");
  settle();
  EXPECT_EQ(b.peer.rows(kAll), "'k'|'still ahead'|2\n");
  server.peer().clock().advance(1000), b.peer.clock().advance(1000);
  b.peer.run("UPDATE t SET v = 'at last'");
  settle();
  EXPECT_EQ(a.peer.rows(kAll), "'k'|'at last'|2\n");
  expect_same();
}

TEST_F(BadClocks, YearsBehind) {
  a.peer.run("INSERT INTO t VALUES('k', 'old', 1)");
  settle();
  b.peer.clock().set(1000);  // 1970: a battery was empty
  b.peer.run("UPDATE t SET v = 'after what it has seen'; INSERT INTO t VALUES('l', 'new', 1)");
  settle();
  EXPECT_EQ(a.peer.rows(kAll), "'k'|'after what it has seen'|1\n'l'|'new'|1\n");
  b.peer.run("DELETE FROM t WHERE id = 'k'");
  settle();
  EXPECT_EQ(a.peer.rows(kAll), "'l'|'new'|1\n");
  expect_same();
}

TEST_F(BadClocks, JumpingBetweenTransactions) {
  const int64_t now = server.peer().clock().now_ms();
  const int64_t jumps[] = {0, 5 * kYear, -5 * kYear, 1, 20 * kYear, -now, kYear, -1, 3'600'000, -3'600'000};
  int n = 0;
  for (int round = 0; round < 6; ++round) {
    for (int64_t jump : jumps) {
      for (LoopbackDevice* device : {&a, &b}) {
        device->peer.clock().set(std::max<int64_t>(1000, now + jump));
        ++n;
        // Each device has a row of its own: its last write is the one that everybody shows in the end.
        device->peer.run("INSERT INTO t VALUES('" + device->caller.device + "', " + std::to_string(n) +
                         ", 0) ON CONFLICT DO UPDATE SET v = excluded.v; INSERT OR REPLACE INTO t VALUES('both', " +
                         std::to_string(n) + ", 0); DELETE FROM t WHERE id = 'gone'");
        if (n % 3 == 0) device->peer.run("INSERT INTO t VALUES('gone', 1, 1)");
        if (n % 7 == 0) device->must_sync(server);
        if (n % 11 == 0) device->peer.rejoin().fold().ok();
      }
    }
  }
  for (LoopbackDevice* device : {&a, &b}) device->peer.clock().set(now);
  settle();
  settle();
  EXPECT_EQ(server.peer().rows("SELECT id, v FROM t WHERE id IN ('a', 'b') ORDER BY id"),
            "'a'|" + std::to_string(n - 1) + "\n'b'|" + std::to_string(n) + "\n");
  EXPECT_LE(newest_ms(), now + server.settings.drift_ms);
  expect_same();
}

TEST_F(BadClocks, OfTheServer) {
  const int64_t now = server.peer().clock().now_ms();
  a.peer.run("INSERT INTO t VALUES('k', 1, 1)");
  settle();
  for (int64_t jump : {-3 * kYear, 4 * kYear, int64_t{0}}) {
    server.peer().clock().set(now + jump);
    a.peer.run("UPDATE t SET v = v + 1");
    settle();
    b.peer.run("UPDATE t SET w = w + 1");
    settle();
  }
  EXPECT_EQ(a.peer.rows(kAll), "'k'|4|4\n");
  expect_same();
}

// Two processes write one file, each with a clock of its own.
TEST_F(BadClocks, TwoProcessesOnOneFile) {
  Peer one(kSchema, {"t"}, "two-clocks.db"), other("", {}, "two-clocks.db"), c(kSchema, {"t"});
  const std::string site = one.site();
  one.clock().advance(-3 * kYear);
  int n = 0;
  for (int round = 0; round < 20; ++round)
    for (Peer* p : {&one, &other}) {
      p->run("INSERT INTO t VALUES('k', " + std::to_string(++n) + ", 0) ON CONFLICT DO UPDATE SET v = excluded.v");
      if (round % 4 == 1) p->rejoin().fold().ok();
      if (round % 5 == 2) c.fetch(*p);
      p->clock().advance(round % 2 ? 1000 : -900);
    }
  c.fetch(one), c.fetch(other);
  for (Peer* p : {&one, &other, &c}) {
    EXPECT_EQ(p->rows(kAll), "'k'|40|0\n");
    p->expect_sound(true);
  }
  EXPECT_EQ(other.site(), site);
}

// The backup of a device is copied over its own file: the file's number stays, only the server can tell.
TEST_F(BadClocks, ABackupThatIsCopiedOverItsOwnFileKeepsItsUnsentWrites) {
  LoopbackDevice d("d", kSchema, {"t"}, "restored.db");
  const std::string path = scratch_folder() + "/restored.db";
  auto content = [&] {
    for (int i = 0; i < 3; ++i) d.peer.database().close(i);
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  d.peer.run("INSERT INTO t VALUES('sent', 1, 1), ('edited', 1, 1)");
  d.must_sync(server);
  d.peer.clock().advance(1000);
  d.peer.run(
      "INSERT INTO t VALUES('unsent', 'in the backup', 1); UPDATE t SET v = 'in the backup' WHERE id = 'edited'");
  const std::string backup = content();
  d.peer.clock().advance(1000);
  d.peer.run("INSERT INTO t VALUES('later', 1, 1); UPDATE t SET v = 'later' WHERE id = 'unsent'");
  d.must_sync(server);
  const std::string site = d.peer.site();
  (void)content();
  for (const char* beside : {"-wal", "-shm"}) std::filesystem::remove(path + beside);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << backup;
  d.peer.clock().advance(-24 * 3600 * 1000);
  d.peer.run("INSERT INTO t VALUES('since', 1, 1)");
  d.must_sync(server);
  d.must_sync(server);
  EXPECT_NE(d.peer.site(), site);
  settle();
  EXPECT_EQ(server.peer().rows("SELECT id, v FROM t ORDER BY id"),
            "'edited'|'in the backup'\n'later'|1\n'sent'|1\n'since'|1\n'unsent'|'later'\n");
  EXPECT_EQ(d.peer.rows(kAll), server.peer().rows(kAll));
  d.peer.expect_sound();
  expect_same();
}

}  // namespace
}  // namespace rejoin::testing
