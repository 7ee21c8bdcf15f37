// A PostgreSQL that says nothing any more, not even to a cancel, keeps nobody beyond a request's time; one that takes
// the cancel keeps its connection.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "tests/support/postgres_loopback.h"
#include "tests/support/round_trip_gate.h"

namespace rejoin::testing {
namespace {

using std::chrono::milliseconds;

std::unique_ptr<postgres::Connection> connected(const std::string& url) {
  auto db = postgres::Connection::open(url);
  EXPECT_TRUE(db.ok()) << (db.ok() ? "" : db.error().message);
  return db.ok() ? std::move(*db) : nullptr;
}

void in(postgres::Connection& db, milliseconds time) { db.set_deadline(std::chrono::steady_clock::now() + time); }

TEST(PostgresSilentHost, GivesAStatementUpThatNoCancelEnds) {
  PostgresWorld world;
  const std::vector<std::function<Status(postgres::Connection&)>> ways{
      [](postgres::Connection& db) {
        const auto rows = db.query("SELECT 1");
        return rows.ok() ? Status() : Status(rows.error());
      },
      [](postgres::Connection& db) { return db.script("CREATE TABLE one(n integer);"); }};
  const auto give_up = [&](const std::function<Status(postgres::Connection&)>& way) {
    RoundTripGate gate(world.url);
    const auto db = connected(gate.url());
    ASSERT_TRUE(db);
    gate.close();
    in(*db, milliseconds(50));
    const Status given_up = way(*db);
    ASSERT_FALSE(given_up.ok());
    EXPECT_EQ(given_up.error().code, Code::timeout);
    EXPECT_TRUE(code_retryable(given_up.error().code));
    EXPECT_FALSE(db->usable());
    // It counts until it is answered, so that others in its place don't make it ever more.
    EXPECT_TRUE(db->in_doubt());
    EXPECT_FALSE(db->answered());
    gate.open();
    while (!db->answered()) std::this_thread::sleep_for(milliseconds(5));
  };
  std::vector<std::thread> at_once;
  for (const auto& way : ways) at_once.emplace_back(give_up, way);
  for (std::thread& one : at_once) one.join();
}

// What a script ends with is not known to be kept, and not to be undone.
TEST(PostgresSilentHost, AScriptsCommitThatIsNotAnsweredIsInDoubt) {
  PostgresWorld world;
  RoundTripGate gate(world.url);
  const auto db = connected(gate.url());
  ASSERT_TRUE(db);
  gate.close();
  in(*db, milliseconds(50));
  const Status unknown = db->script("BEGIN; CREATE TABLE one(n integer); COMMIT;");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, Code::timeout);
  EXPECT_TRUE(db->in_doubt());
  gate.open();
  while (!db->answered()) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_EQ(world.sql.rows("SELECT to_regclass('one')"), "one\n");
}

TEST(PostgresSilentHost, ACancelHitsNothingThatComesLater) {
  PostgresWorld world;
  const auto db = connected(world.url);
  ASSERT_TRUE(db);
  for (int i = 0; i < 20; ++i) {
    in(*db, milliseconds(i % 5));
    const auto slept = db->query("SELECT pg_sleep(20)");
    ASSERT_FALSE(slept.ok());
    EXPECT_EQ(slept.error().code, Code::timeout);
    in(*db, milliseconds(i % 5));
    const Status script = db->script("BEGIN; SELECT pg_sleep(20);");
    ASSERT_FALSE(script.ok());
    EXPECT_EQ(script.error().code, Code::timeout);
    ASSERT_TRUE(db->usable());
    EXPECT_FALSE(db->in_transaction());
    db->set_deadline(std::nullopt);
    const auto next = db->query("SELECT pg_sleep(0.01)");
    EXPECT_TRUE(next.ok()) << next.error().message;
  }
}

}  // namespace
}  // namespace rejoin::testing
