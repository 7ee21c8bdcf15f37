// What others write in PostgreSQL with plain SQL may be large: many large rows at once, values that no device takes.
// Devices get all the rest, in pages of bounded size, and never get stuck.
#include <gtest/gtest.h>

#include "codec/changeset.h"
#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

constexpr const char* kTable = "CREATE TABLE files(id text PRIMARY KEY, name text, body bytea)";
constexpr const char* kDevice = "CREATE TABLE files(id TEXT PRIMARY KEY, name TEXT, body BLOB)";
constexpr const char* kLook = "SELECT id, name, length(body) FROM files ORDER BY id";

class PostgresLargeWrites : public ::testing::Test {
 protected:
  PostgresLargeWrites() : world(kTable, {"public.files"}), device("device", kDevice, {"files"}) {}
  PostgresWorld world;
  LoopbackDevice device;
};

TEST_F(PostgresLargeWrites, AStatementOverManyLargeRowsComesInSeveralPages) {
  // Less than a page, in one log entry.
  world.sql.run("INSERT INTO files SELECT to_char(i, 'FM0000'), 'file ' || i, 'x' FROM generate_series(1, 300) AS i");
  world.sync(device);
  ASSERT_EQ(device.peer.number("SELECT count(*) FROM files WHERE length(body) = 1"), 300);
  world.sql.run("UPDATE files SET body = decode(md5(id), 'hex') || convert_to(repeat(id, 5000), 'UTF8')");
  const auto totals = world.sync(device);
  EXPECT_EQ(device.peer.number("SELECT count(*) FROM files WHERE length(body) = 20016"), 300);
  EXPECT_EQ(totals.rows_pulled, 300u);
  EXPECT_GE(totals.round_trips, 3u);  // 6 MB, at most 2 MiB a page
  world.sync(device);
}

TEST_F(PostgresLargeWrites, NoPageIsMuchLargerThanWhatWasAskedFor) {
  world.sql.run("INSERT INTO files VALUES('0', 'before', NULL)");
  world.sync(device);
  sync::PullRequest request;
  request.site = crdt::SiteId::from(Bytes(16, 'r'));
  request.max_bytes = 64 << 10;
  sync::TenantStore& store = world.server().store();
  for (;;) {
    auto reply = store.pull(request);
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    request.cursor = reply->next_cursor;
    if (!reply->more) break;
  }
  world.sql.run(
      "INSERT INTO files SELECT to_char(i, 'FM0000'), 'file', convert_to(string_agg(md5(i || ' ' || n), ''), 'UTF8') "
      "FROM generate_series(1, 150) AS i, generate_series(1, 500) AS n GROUP BY i");
  uint64_t rows = 0, pages = 0;
  for (bool more = true; more; ++pages) {
    auto reply = store.pull(request);
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_LE(reply->frame.size(), request.max_bytes * 2 + 20'000);
    EXPECT_NE(reply->next_cursor, request.cursor);
    request.cursor = reply->next_cursor;
    rows += reply->rows;
    more = reply->more;
    ASSERT_LT(pages, 1000u);
  }
  EXPECT_EQ(rows, 150u);
  EXPECT_GT(pages, 15u);
  world.sync(device);
  EXPECT_EQ(device.peer.number("SELECT count(*) FROM files WHERE length(body) = 16000"), 150);
}

TEST_F(PostgresLargeWrites, AValueThatNoDeviceTakesStaysAwayAndHoldsUpNothing) {
  world.sql.run("INSERT INTO files VALUES('a', 'small', 'x')");
  world.sync(device);
  world.sql.run(
      "INSERT INTO files VALUES('b', 'large', convert_to(repeat('x', 70 << 20), 'UTF8')), ('c', 'beside', 'y'); "
      "UPDATE files SET name = 'later' WHERE id = 'a'");
  world.sync(device);
  EXPECT_EQ(device.peer.rows(kLook), "'a'|'later'|1\n'b'|'large'|null\n'c'|'beside'|1\n");
  EXPECT_EQ(device.peer.number("SELECT count(*) FROM rejoin_rejections"), 0);
  // A first sync, too; and its log says so.
  sync::PullRequest request;
  request.site = crdt::SiteId::from(Bytes(16, 'r'));
  auto reply = world.server().store().pull(request);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  ASSERT_EQ(reply->withheld.size(), 1u);
  EXPECT_EQ(reply->withheld[0].code, Code::too_large);
  EXPECT_NE(reply->withheld[0].message.find("\"body\""), std::string::npos) << reply->withheld[0].message;
  // Other columns go both ways; one that is short enough arrives.
  device.peer.run("UPDATE files SET name = 'by the device' WHERE id = 'b'");
  world.sync(device);
  EXPECT_EQ(world.sql.rows("SELECT name, length(body) FROM files WHERE id = 'b'"), "by the device|73400320\n");
  world.sql.run("UPDATE files SET body = 'short' WHERE id = 'b'");
  world.sync(device);
  EXPECT_EQ(device.peer.rows(kLook), "'a'|'later'|1\n'b'|'by the device'|5\n'c'|'beside'|1\n");
  world.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
