// `rejoin pg track` of a large table keeps no writer waiting but for the one round trip that makes the triggers, and
// misses nothing that is written meanwhile.
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "tests/support/postgres_loopback.h"
#include "tests/support/round_trip_gate.h"
#include "tests/support/sanitized.h"

namespace rejoin::testing {
namespace {

const std::string kTable = "CREATE TABLE big(id text PRIMARY KEY, v text, n integer)";
const std::string kDeviceTable = "CREATE TABLE big(id TEXT PRIMARY KEY, v TEXT, n INTEGER)";

std::string fill(int rows) {
  return "INSERT INTO big SELECT i::text, 'row ' || i, i % 7 FROM generate_series(1, " + std::to_string(rows) +
         ") AS i";
}

void expect_same(PostgresWorld& world) {
  LoopbackDevice reader("reader", kDeviceTable, {"big"});
  for (int i = 0; i < 2; ++i) world.sync(reader);
  const std::string all = "SELECT id, v, n FROM big ORDER BY id";
  std::string shown = reader.peer.rows(all);
  std::erase(shown, '\'');
  EXPECT_EQ(difference(shown, world.sql.rows(all)), "");
  world.expect_sound();
}

// Tracking stands still after each of its round trips, for as long as the writers like.
TEST(PostgresTrackBesideWriters, HoldsNobodyUpWhereverItStands) {
  PostgresWorld world;
  world.sql.run(kTable + ";" + fill(12'000));
  RoundTripGate gate(world.url);
  auto opened = postgres::Connection::open(gate.url());
  ASSERT_TRUE(opened.ok());
  gate.close();
  std::atomic<bool> done = false;
  std::thread tracking([&] {
    postgres::TrackRequest request;
    request.relation = "public.big";
    request.tenant = "main";
    auto tracked = postgres::track(**opened, request, system_random(), {});
    EXPECT_TRUE(tracked.ok()) << tracked.error().message;
    done = true;
  });
  SqlClient writer(world.url);
  writer.run("SET lock_timeout = '20s'");  // a lock that tracking keeps while it stands still would be kept for ever
  int stops = 0, stops_with_triggers = 0;
  for (;; ++stops) {
    while (!done && gate.state() != RoundTripGate::State::held) std::this_thread::yield();
    if (done) break;
    const std::string n = std::to_string(stops);
    for (const std::string& write :
         {"INSERT INTO big VALUES ('new " + n + "', 'new', " + n + ")",
          "UPDATE big SET v = 'changed " + n + "' WHERE id IN ('1', '6000', '999')",
          "DELETE FROM big WHERE id IN ('" + std::to_string(100 + stops) + "', '" + std::to_string(5'100 + stops) +
              "', '" + std::to_string(9'100 + stops) + "')",
          "INSERT INTO big VALUES ('2', 'x', 1), ('same', 'x', 1) ON CONFLICT (id) DO UPDATE SET n = " + n,
          "UPDATE big SET id = 'moved ' || id WHERE id = '" + std::to_string(7'000 + stops) + "'"})
      EXPECT_EQ(writer.attempt(write), "") << "after " << stops << " round trips: " << write;
    stops_with_triggers +=
        world.sql.number("SELECT count(*) FROM pg_trigger WHERE tgname = 'rejoin_capture_update'") > 0;
    gate.step();
  }
  tracking.join();
  gate.open();
  EXPECT_GE(stops_with_triggers, 10);
  EXPECT_GE(stops - stops_with_triggers, 3);
  expect_same(world);
}

// Tracked again, while a transaction that deletes a row and inserts it anew is open in one of the round trips, each in
// turn.
TEST(PostgresTrackBesideWriters, ARowThatIsInsertedAnewIsNotLostWhenItsTableIsTrackedAgain) {
  PostgresWorld world(kTable + ";" + fill(3), {"public.big"});
  SqlClient writer(world.url);
  writer.run("SET lock_timeout = '100ms'");
  const std::string waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
  int waited = 0;
  bool more = true;
  for (int at = 0; more && !HasFailure(); ++at) {
    RoundTripGate gate(world.url);
    auto opened = postgres::Connection::open(gate.url());
    ASSERT_TRUE(opened.ok());
    gate.close();
    std::atomic<bool> done = false;
    std::thread tracking([&] {
      postgres::TrackRequest request;
      request.relation = "public.big";
      request.tenant = "main";
      auto tracked = postgres::track(**opened, request, system_random(), {});
      EXPECT_TRUE(tracked.ok()) << tracked.error().message;
      done = true;
    });
    more = false;
    for (int stops = 0;; ++stops) {
      while (!done && gate.state() != RoundTripGate::State::held) std::this_thread::yield();
      if (done) break;
      if (stops != at) {
        gate.step();
        continue;
      }
      more = true;
      // Where tracking stands with the row locked, nobody can write it.
      const std::string state = writer.attempt(
          "BEGIN; DELETE FROM big WHERE id = '2'; INSERT INTO big VALUES ('2', 'anew', " + std::to_string(stops) + ")");
      EXPECT_TRUE(state.empty() || state == "55P03") << state;
      gate.step();
      bool held_up = false;
      while (!done && gate.state() != RoundTripGate::State::held && !held_up) held_up = world.sql.number(waits) > 0;
      waited += held_up;
      if (state.empty()) writer.run("COMMIT");
    }
    tracking.join();
    gate.open();
    expect_same(world);
    EXPECT_FALSE(HasFailure()) << "open in round trip " << at;
  }
  EXPECT_GE(waited, 2) << "for the triggers, and for the row";
}

TEST(PostgresTrackBesideWriters, SeveralWriteAllTheWhile) {
  constexpr int kRows = kSanitized ? 20'000 : 100'000, kWriters = 4;
  PostgresWorld world;
  world.sql.run(kTable + ";" + fill(kRows));
  std::atomic<bool> tracked = false, made = false;
  std::atomic<int64_t> commits[kWriters] = {}, commits_beside[kWriters] = {};
  std::atomic<int64_t> pids[kWriters] = {};
  std::vector<std::thread> threads;
  for (int me = 0; me < kWriters; ++me)
    threads.emplace_back([&, me] {
      SqlClient sql(world.url);
      pids[me] = sql.number("pg_backend_pid()");
      SeededRandom dice(static_cast<uint64_t>(me) + 1);
      for (int64_t n = 0; !tracked; ++n) {
        const std::string one = "'" + std::to_string(1 + dice.u64() % kRows) + "'",
                          mine = std::to_string(me) + "-" + std::to_string(n);
        const std::string kinds[] = {
            "UPDATE big SET v = 'by " + mine + "' WHERE id = " + one, "DELETE FROM big WHERE id = " + one,
            "INSERT INTO big VALUES ('" + mine + "', 'new', " + std::to_string(me) + ")",
            "INSERT INTO big VALUES (" + one + ", 'upserted', 0) ON CONFLICT (id) DO UPDATE SET n = -1"};
        sql.run(kinds[dice.u64() % 4]);
        ++commits[me];
        if (made) ++commits_beside[me];
      }
    });
  for (int me = 0; me < kWriters; ++me)
    while (commits[me] == 0) std::this_thread::yield();

  SqlClient tracker(world.url);
  const std::string pid = std::to_string(tracker.number("pg_backend_pid()"));
  // Whom it kept waiting, in which of its transactions.
  std::set<std::string> held_up_in;
  std::thread watch([&] {
    SqlClient sql(world.url);
    std::string writers;
    for (const auto& p : pids) writers += (writers.empty() ? "" : ", ") + std::to_string(p);
    while (!tracked) {
      const std::string since = sql.rows("SELECT t.xact_start FROM pg_stat_activity AS t WHERE t.pid = " + pid +
                                         " AND EXISTS (SELECT FROM unnest(ARRAY[" + writers + "]) AS w WHERE " + pid +
                                         " = ANY (pg_blocking_pids(w)))");
      if (!since.empty()) held_up_in.insert(since);
    }
  });
  postgres::TrackRequest request;
  request.relation = "public.big";
  request.tenant = "main";
  int64_t batches = 0;
  auto done = postgres::track(tracker.connection(), request, system_random(), [&](int64_t) { made = ++batches > 0; });
  tracked = true;
  for (std::thread& t : threads) t.join();
  watch.join();
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_GE(batches, kRows / 5'000 / 2);
  EXPECT_LE(held_up_in.size(), 1u) << "beside the one that makes the triggers";
  for (int me = 0; me < kWriters; ++me) EXPECT_GT(commits_beside[me], 0) << me;
  expect_same(world);
}

// Somebody holds the table at any time, each for a second.
TEST(PostgresTrackBesideWriters, GetsItsLockWhereTransactionsOverlap) {
  PostgresWorld world(kTable, {});
  std::atomic<bool> over = false;
  std::atomic<int> begun = 0;
  std::vector<std::thread> threads;
  for (int me = 0; me < 8; ++me)
    threads.emplace_back([&, me] {
      SqlClient sql(world.url);
      std::this_thread::sleep_for(std::chrono::milliseconds(125 * me));
      for (int64_t n = 0; !over; ++n) {
        sql.run("BEGIN; INSERT INTO big VALUES ('" + std::to_string(me) + "-" + std::to_string(n) + "', 'new', 1)");
        ++begun;
        sql.run("SELECT pg_sleep(1)");
        sql.run("COMMIT");
      }
    });
  while (begun < 8) std::this_thread::yield();
  const auto tracked = [&] {
    auto opened = postgres::Connection::open(world.url);
    EXPECT_TRUE(opened.ok());
    postgres::TrackRequest request;
    request.relation = "public.big";
    request.tenant = "main";
    return postgres::track(**opened, request, system_random(), {});
  }();
  EXPECT_TRUE(tracked.ok()) << tracked.error().message;
  over = true;
  for (std::thread& t : threads) t.join();
  if (tracked.ok()) expect_same(world);
}

}  // namespace
}  // namespace rejoin::testing
