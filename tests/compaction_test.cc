// P10: compaction shrinks log and feed, and loses nothing: who was not up to date gets everything from the records.
#include <gtest/gtest.h>

#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v)";
constexpr const char* kAll = "SELECT * FROM t ORDER BY id";

int64_t compact(Peer& p) {
  auto gone = p.rejoin().compact();
  EXPECT_TRUE(gone.ok()) << gone.error().message;
  return gone.ok() ? *gone : -1;
}

TEST(Compaction, ShrinksTheLog) {
  Peer a(kSchema, {"t"});
  for (int i = 0; i < 100; ++i)
    a.run("INSERT OR REPLACE INTO t VALUES('k" + std::to_string(i % 7) + "', " + std::to_string(i) + ")");
  EXPECT_GE(compact(a), 90);
  EXPECT_LE(a.number("SELECT count(*) FROM rejoin_log"), 1);
  EXPECT_EQ(compact(a), 0);
  a.expect_sound();
}

TEST(Compaction, PositionsAreNeverGivenTwice) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1)");
  b.fetch(a);
  int64_t seq = a.seq();
  compact(a);
  EXPECT_GE(a.seq(), seq);
  a.run("UPDATE t SET v = 2");
  EXPECT_EQ(b.fetch(a), 1u);
  EXPECT_GT(a.seq(), seq);
  a.rejoin().untrack("t").ok();
  a.track("t");
  a.run("UPDATE t SET v = 3");
  EXPECT_GT(a.seq(), seq + 1);
  a.expect_sound();
}

TEST(Compaction, WhoIsBehindStillGetsEverything) {
  Peer a(kSchema, {"t"}), late(kSchema, {"t"}), newcomer(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('1', 1), ('2', 2), ('3', 3)");
  late.fetch(a);
  a.run("DELETE FROM t WHERE id = '1'; UPDATE t SET v = 'new' WHERE id = '2'");
  compact(a);
  a.run("INSERT INTO t VALUES('4', 4)");
  compact(a);
  late.fetch(a);
  newcomer.fetch(a);
  for (Peer* p : {&late, &newcomer}) {
    EXPECT_EQ(p->rows(kAll), "'2'|'new'\n'3'|3\n'4'|4\n");
    p->expect_sound();
  }
}

TEST(Compaction, BetweenThePagesOfAStream) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO t SELECT "
      "printf('%04d', i), i FROM n");
  Bytes cursor;
  for (int n = 0;; ++n) {
    ASSERT_LT(n, 1000);
    sqlite::PageRequest request;
    request.cursor = cursor;
    request.max_bytes = 300;
    auto page = a.rejoin().page(request);
    ASSERT_TRUE(page.ok()) << page.error().message;
    if (!page->frame.empty()) b.apply(page->frame);
    cursor = page->next;
    if (n % 3 == 1) compact(a);
    if (n == 4) a.run("UPDATE t SET v = v + 1000");
    if (!page->more) break;
  }
  EXPECT_EQ(b.rows(kAll), a.rows(kAll));
}

TEST(Compaction, KeepsTheDeadAndTheirValues) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 'value'); DELETE FROM t");
  compact(a);
  b.run("INSERT INTO t VALUES('other', 1)");
  b.fetch(a);
  EXPECT_TRUE(b.restore("t", {sim::Value::text("k")}));
  EXPECT_EQ(b.rows(kAll), "'k'|'value'\n'other'|1\n");
  EXPECT_TRUE(a.restore("t", {sim::Value::text("k")}));
}

TEST(Compaction, OfAnEmptyLogAndTwice) {
  Peer a(kSchema, {"t"});
  EXPECT_EQ(compact(a), 0);
  a.run("INSERT INTO t VALUES('k', 1)");
  compact(a);
  compact(a);
  EXPECT_FALSE(a.changeset(0).empty());
  EXPECT_TRUE(a.changeset(a.seq()).empty());
  a.expect_sound();
}

TEST(Compaction, KeepsWhatAConnectedServerHasNotAcknowledged) {
  Peer a(kSchema, {"t"});
  auto device = sqlite::make_device_store(a.rejoin(), "http://127.0.0.1:1/");
  ASSERT_TRUE(device->state().ok());
  a.run("INSERT INTO t VALUES('k', 1)");
  auto push = device->next_push(1 << 20, {});
  ASSERT_TRUE(push.ok()) << push.error().message;
  ASSERT_TRUE(push->has_value());
  Bytes frame = (*push)->frame;
  compact(a);
  // A retry is the same chunk, byte for byte.
  push = device->next_push(1 << 20, {});
  ASSERT_TRUE(push.ok() && push->has_value());
  EXPECT_EQ((*push)->frame, frame);
  ASSERT_TRUE(device->acknowledge((*push)->nonce, "token", {}).ok());
  push = device->next_push(1 << 20, {});
  ASSERT_TRUE(push.ok());
  EXPECT_FALSE(push->has_value());
}

}  // namespace
}  // namespace rejoin::testing
