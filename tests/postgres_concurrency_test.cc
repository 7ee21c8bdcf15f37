// Several server nodes and plain SQL at every isolation level write the same few rows at the same time: nothing that
// was acknowledged is lost, and in the end everybody shows the same.
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

// A column of its own for each writer, one that all write.
const std::string kPg = "CREATE TABLE t(id text PRIMARY KEY, shared text, w0 text, w1 text, w2 text, w3 text, w4 text)";
const std::string kDevice =
    "CREATE TABLE t(id TEXT PRIMARY KEY, shared TEXT, w0 TEXT, w1 TEXT, w2 TEXT, w3 TEXT, w4 TEXT)";
constexpr int kHot = 4, kChurn = 3;

std::string plain(Peer& p, const std::string& sql) {
  std::string out = p.rows(sql);
  std::erase(out, '\'');
  return out;
}

class PostgresConcurrency : public ::testing::Test {
 protected:
  PostgresConcurrency() : world(kPg, {"public.t"}) {
    world.sql.run(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''300ms''', current_database()); END $$");
    for (int i = 0; i < kHot; ++i)
      world.sql.run("INSERT INTO t(id, shared) VALUES ('h" + std::to_string(i) + "', 'first')");
    for (const char* node : {"main#1", "main#2"}) world.server(node);
  }
  void expect_same(const std::vector<LoopbackDevice*>& devices) {
    for (int i = 0; i < 3; ++i)
      for (LoopbackDevice* d : devices) world.sync_as(*d, "main#1");
    const std::string sql = "SELECT * FROM t ORDER BY id";
    const std::string truth = world.sql.rows(sql);
    for (LoopbackDevice* d : devices) {
      EXPECT_EQ(difference(plain(d->peer, sql), truth), "");
      EXPECT_EQ(d->peer.number("SELECT count(*) FROM rejoin_rejections"), 0)
          << d->peer.rows("SELECT reason FROM rejoin_rejections");
      d->peer.expect_sound();
    }
    EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.outbox"), 0);
    world.expect_sound();
  }
  PostgresWorld world;
};

// What a writer knows to be kept: its own column of each hot row, and keys that it inserted once.
struct Kept {
  std::string own[kHot];
  std::vector<std::string> keys;
};

void write_with_sql(const std::string& url, int me, const std::string& isolation, int rounds, Kept& kept,
                    std::set<std::string>& codes) {
  SqlClient sql(url);
  SeededRandom dice(100 + static_cast<uint64_t>(me));
  const std::string column = "w" + std::to_string(me);
  for (int n = 0; n < rounds; ++n) {
    const std::string value = "sql" + std::to_string(me) + "-" + std::to_string(n);
    const int one = static_cast<int>(dice.u64() % kHot), other = static_cast<int>(dice.u64() % kHot);
    const std::string churn = "'c" + std::to_string(dice.u64() % kChurn) + "'", key = "u" + value;
    const bool keep = dice.u64() % 4 != 0;
    auto hot = [](int i) { return "'h" + std::to_string(i) + "'"; };
    std::string script = "BEGIN ISOLATION LEVEL " + isolation + "; UPDATE t SET " + column + " = '" + value +
                         "' WHERE id = " + hot(one) + "; ";
    switch (dice.u64() % 5) {
      case 0:
        script += "UPDATE t SET shared = '" + value + "' WHERE id = " + hot(other) + "; ";
        break;
      case 1:
        script += "INSERT INTO t(id, shared) VALUES (" + churn + ", '" + value +
                  "') ON CONFLICT (id) DO UPDATE SET shared = EXCLUDED.shared; ";
        break;
      case 2:
        script += "DELETE FROM t WHERE id = " + churn + "; ";
        break;
      case 3:
        script +=
            "SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; UPDATE t SET shared = '" + value + "' WHERE id LIKE 'c%'; ";
        break;
      default:
        script += "DELETE FROM t WHERE id = " + churn + "; INSERT INTO t(id, shared) VALUES (" + churn + ", '" + value +
                  "'); ";
        break;
    }
    script += "INSERT INTO t(id, shared) VALUES ('" + key + "', 'once'); ";
    script += keep ? "COMMIT" : "ROLLBACK";
    for (int attempt = 0; attempt < 50; ++attempt) {
      const std::string state = sql.attempt(script);
      if (state.empty()) {
        if (keep) kept.own[one] = value, kept.keys.push_back(key);
        break;
      }
      codes.insert(state);
    }
  }
}

TEST_F(PostgresConcurrency, MergesOfTwoNodesAndDirectWritersOnTheSameRows) {
  LoopbackDevice a("a", kDevice, {"t"}), b("b", kDevice, {"t"});
  const std::vector<LoopbackDevice*> devices{&a, &b};
  for (LoopbackDevice* d : devices) {
    d->options.attempts = 20;
    world.sync_as(*d, "main#1");
  }
  Kept kept[5];
  std::set<std::string> codes[5];
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int me = 0; me < 2; ++me)
    threads.emplace_back([&, me] {
      LoopbackDevice& device = *devices[static_cast<size_t>(me)];
      LoopbackServer& server = world.server(me == 0 ? "main#1" : "main#2");
      SeededRandom dice(static_cast<uint64_t>(me) + 1);
      for (int n = 0; n < 60; ++n) {
        const int64_t now = system_clock().now_ms();
        device.peer.clock().set(now);
        server.peer().clock().set(now);
        const std::string value = "device" + std::to_string(me) + "-" + std::to_string(n);
        const int one = static_cast<int>(dice.u64() % kHot), other = static_cast<int>(dice.u64() % kHot);
        const std::string churn = "c" + std::to_string(dice.u64() % kChurn);
        std::string sql = "UPDATE t SET w" + std::to_string(me) + " = '" + value + "' WHERE id = 'h" +
                          std::to_string(one) + "'; INSERT INTO t(id, shared) VALUES ('u" + value + "', 'once'); ";
        switch (dice.u64() % 4) {
          case 0:
            sql += "UPDATE t SET shared = '" + value + "' WHERE id = 'h" + std::to_string(other) + "'";
            break;
          case 1:
            sql += "INSERT OR IGNORE INTO t(id, shared) VALUES ('" + churn + "', '" + value + "')";
            break;
          case 2:
            sql += "DELETE FROM t WHERE id = '" + churn + "'";
            break;
          default:
            sql += "UPDATE t SET shared = '" + value + "' WHERE id LIKE 'c%'";
            break;
        }
        device.peer.run(sql);
        kept[me].own[one] = value;
        kept[me].keys.push_back("u" + value);
        if (device.sync(server).error) ++failed;
      }
    });
  const char* isolation[] = {"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"};
  for (int me = 2; me < 5; ++me)
    threads.emplace_back([&, me] { write_with_sql(world.url, me, isolation[me - 2], 120, kept[me], codes[me]); });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(failed, 0);
  for (const auto& seen : codes)
    for (const std::string& code : seen) EXPECT_TRUE(code == "40001" || code == "40P01" || code == "23505") << code;
  expect_same(devices);
  for (int me = 0; me < 5; ++me) {
    for (int i = 0; i < kHot; ++i) {
      if (kept[me].own[i].empty()) continue;
      EXPECT_EQ(world.sql.rows("SELECT w" + std::to_string(me) + " FROM t WHERE id = 'h" + std::to_string(i) + "'"),
                kept[me].own[i] + "\n");
    }
    for (const std::string& key : kept[me].keys)
      EXPECT_EQ(world.sql.number("SELECT count(*) FROM t WHERE id = '" + key + "'"), 1) << key;
  }
}

// Until another session waits for a lock, or is gone.
void until_someone_waits(SqlClient& sql) {
  for (int i = 0; i < 10'000; ++i)
    if (sql.number(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") >
        0)
      return;
  ADD_FAILURE() << "nobody waits";
}

TEST_F(PostgresConcurrency, ADeadlockIsARetryAndNothingIsHalfDone) {
  LoopbackDevice a("a", kDevice, {"t"});
  world.sync_as(a, "main#1");
  a.options.attempts = 1;
  a.peer.run("UPDATE t SET w0 = 'device' WHERE id IN ('h0', 'h1')");
  SqlClient direct(world.url);
  direct.run("SET deadlock_timeout = '60s'; BEGIN");
  direct.run("UPDATE t SET w1 = 'sql' WHERE id = 'h1'");
  sync::Done done;
  std::thread push([&] { done = a.sync(world.server("main#1")); });
  until_someone_waits(world.sql);
  direct.run("UPDATE t SET w1 = 'sql' WHERE id = 'h0'");
  direct.run("COMMIT");
  push.join();
  ASSERT_TRUE(done.error);
  EXPECT_EQ(done.error->code, Code::busy) << done.error->message;
  EXPECT_TRUE(code_retryable(done.error->code));
  EXPECT_EQ(world.sql.rows("SELECT id, w0, w1 FROM t WHERE id IN ('h0', 'h1') ORDER BY id"),
            "h0|null|sql\nh1|null|sql\n");
  expect_same({&a});
  EXPECT_EQ(world.sql.rows("SELECT id, w0, w1 FROM t WHERE id IN ('h0', 'h1') ORDER BY id"),
            "h0|device|sql\nh1|device|sql\n");
}

// The direct writer has the key first but has not committed yet.
TEST_F(PostgresConcurrency, TheSameKeyInsertedFromBothSides) {
  LoopbackDevice a("a", kDevice, {"t"}), b("b", kDevice, {"t"});
  for (LoopbackDevice* d : {&a, &b}) world.sync_as(*d, "main#1");
  a.peer.run("INSERT INTO t(id, shared, w0) VALUES ('k', 'device', 'device')");
  SqlClient direct(world.url);
  direct.run("BEGIN");
  direct.run("INSERT INTO t(id, shared, w1) VALUES ('k', 'sql', 'sql')");
  std::thread push([&] { world.sync_as(a, "main#1"); });
  until_someone_waits(world.sql);
  direct.run("COMMIT");
  push.join();
  expect_same({&a, &b});
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM t WHERE id = 'k'"), 1);
}

TEST_F(PostgresConcurrency, ADeletionThatIsNotCommittedYetMeetsAnUpdate) {
  LoopbackDevice a("a", kDevice, {"t"}), b("b", kDevice, {"t"});
  for (LoopbackDevice* d : {&a, &b}) world.sync_as(*d, "main#1");
  for (const std::string end : {"COMMIT", "ROLLBACK"}) {
    const std::string key = end == "COMMIT" ? "h0" : "h1";
    a.peer.run("UPDATE t SET w0 = 'device' WHERE id = '" + key + "'");
    SqlClient direct(world.url);
    direct.run("BEGIN");
    direct.run("DELETE FROM t WHERE id = '" + key + "'");
    std::thread push([&] { world.sync_as(a, "main#1"); });
    until_someone_waits(world.sql);
    direct.run(end);
    push.join();
    expect_same({&a, &b});
    EXPECT_EQ(world.sql.number("SELECT count(*) FROM t WHERE id = '" + key + "'"), end == "COMMIT" ? 0 : 1);
  }
  EXPECT_EQ(world.sql.rows("SELECT w0 FROM t WHERE id = 'h1'"), "device\n");
  // The edit stays with the dead row and shows after a restore.
  b.peer.restore("t", {sim::Value::text("h0")});
  expect_same({&a, &b});
  EXPECT_EQ(world.sql.rows("SELECT shared, w0 FROM t WHERE id = 'h0'"), "first|device\n");
}

}  // namespace
}  // namespace rejoin::testing
