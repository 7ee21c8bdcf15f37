// P5, P7: pages of one transaction become visible together; a lost, repeated or reordered page and a killed process
// lose nothing.
#include <gtest/gtest.h>

#include "codec/changeset.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v, padding)";

sqlite::Page read_page(Peer& p, const Bytes& cursor, uint64_t max_bytes = 1000) {
  sqlite::PageRequest request;
  request.cursor = cursor;
  request.max_bytes = max_bytes;
  auto page = p.rejoin().page(request);
  EXPECT_TRUE(page.ok()) << page.error().message;
  return page.ok() ? *page : sqlite::Page();
}

std::vector<sqlite::Page> all_pages(Peer& p, Bytes cursor = {}, uint64_t max_bytes = 1000) {
  std::vector<sqlite::Page> pages;
  for (;;) {
    sqlite::Page page = read_page(p, cursor, max_bytes);
    if (page.frame.empty() && !page.more) break;
    cursor = page.next;
    bool more = page.more;
    if (!page.frame.empty()) pages.push_back(std::move(page));
    if (!more || pages.size() > 1000) break;
  }
  return pages;
}

// Text that does not compress away.
std::string padding(int i) {
  SeededRandom random(static_cast<uint64_t>(i));
  return to_hex(random.bytes(25));
}

void insert_rows(Peer& p, int first, int count) {
  p.run("BEGIN");
  for (int i = first; i < first + count; ++i)
    p.run("INSERT INTO t VALUES(?1, ?2, ?3)", {sim::Value::text("k" + std::to_string(100000 + i)),
                                               sim::Value::of(static_cast<int64_t>(i)), sim::Value::text(padding(i))});
  p.run("COMMIT");
}

int64_t count(Peer& p) { return p.number("SELECT count(*) FROM t"); }

TEST(Paging, OneTransactionInManyPagesAppearsAtOnce) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  insert_rows(a, 0, 200);
  auto pages = all_pages(a);
  ASSERT_GT(pages.size(), 5u);
  for (size_t i = 0; i < pages.size(); ++i) {
    EXPECT_LT(pages[i].frame.size(), 3000u);
    EXPECT_EQ(count(b), 0);
    EXPECT_EQ(b.apply(pages[i].frame).staged, i + 1 < pages.size());
  }
  EXPECT_EQ(count(b), 200);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), a.rows("SELECT * FROM t ORDER BY id"));
  EXPECT_EQ(b.rows("SELECT count(*) FROM rejoin_staged"), "0\n");
  b.expect_sound();
}

TEST(Paging, TheSameThroughTheLogAfterAnEarlierSync) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  insert_rows(a, 0, 10);
  Bytes cursor;
  for (auto& page : all_pages(a, cursor)) b.apply(page.frame), cursor = page.next;
  ASSERT_EQ(count(b), 10);
  insert_rows(a, 10, 200);
  a.run("UPDATE t SET v = v + 1000");
  auto pages = all_pages(a, cursor);
  ASSERT_GT(pages.size(), 5u);
  for (size_t i = 0; i < pages.size(); ++i) {
    EXPECT_EQ(b.rows("SELECT count(*), max(v) FROM t"), "10|9\n");
    b.apply(pages[i].frame);
  }
  EXPECT_EQ(b.rows("SELECT count(*), min(v) FROM t"), "210|1000\n");
}

// Both have 10 rows, and `a` 20 more, up to the position that it gives; `cursor` is behind what both have.
int64_t more_than_a_page(Peer& a, Peer& b, Bytes& cursor) {
  insert_rows(a, 0, 10);
  for (auto& page : all_pages(a, cursor)) b.apply(page.frame), cursor = page.next;
  insert_rows(a, 100, 20);
  return a.seq();
}

// Pages up to a position, which is not all that there is.
void stage_up_to(Peer& a, Peer& b, Bytes& cursor, int64_t through) {
  for (sqlite::Page page; static_cast<int64_t>(page.through) < through; cursor = page.next) {
    page = read_page(a, cursor, 100);
    EXPECT_TRUE(b.apply(page.frame).staged);
    ASSERT_LE(static_cast<int64_t>(page.through), through);
  }
  EXPECT_EQ(count(b), 10);
}

// Symptom: what a changeset told was never shown, as it began where the last page ended that waits for a later one.
TEST(Paging, AnOlderChangesetBetweenPagesIsShownAtOnceAndThePagesGoOn) {
  for (const bool later_too : {true, false}) {
    Peer a(kSchema, {"t"}), b(kSchema, {"t"});
    Bytes cursor;
    const int64_t first = more_than_a_page(a, b, cursor);
    insert_rows(a, 200, 1);
    const Bytes older = a.changeset(first);
    const int64_t second = a.seq();
    insert_rows(a, 300, 1);
    a.seq();
    stage_up_to(a, b, cursor, first);  // where the older one begins
    for (int time = 0; time < 2; ++time) {
      EXPECT_FALSE(b.apply(older).staged);
      EXPECT_EQ(count(b), 11);
    }
    if (later_too) {
      EXPECT_FALSE(b.apply(a.changeset(second)).staged);
      EXPECT_EQ(count(b), 12);
    }
    for (auto& page : all_pages(a, cursor, 100)) b.apply(page.frame);
    EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), a.rows("SELECT * FROM t ORDER BY id"));
    EXPECT_EQ(b.rows("SELECT count(*) FROM rejoin_staged"), "0\n");
    b.expect_sound();
  }
}

// Symptom: pages that waited were never shown. The log of the server had gone back by one entry between two of them.
TEST(Paging, APageNeverNamesLessThanThePagesBeforeIt) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  Bytes cursor;
  const int64_t first = more_than_a_page(a, b, cursor);
  insert_rows(a, 200, 1);
  a.seq();
  insert_rows(a, 300, 1);
  const int64_t tail = a.seq();
  stage_up_to(a, b, cursor, first);
  a.run("DELETE FROM rejoin_batch WHERE last_seq = " + std::to_string(tail) +
        "; DELETE FROM rejoin_log WHERE seq = " + std::to_string(tail) +
        "; UPDATE rejoin_state SET folded = folded - 1; "
        "DELETE FROM t__rejoin WHERE k = (SELECT max(k) FROM t__rejoin)");
  const sqlite::Page next = read_page(a, cursor, 100);
  EXPECT_EQ(static_cast<int64_t>(next.through), tail - 1);
  EXPECT_TRUE(b.apply(next.frame).staged);
  insert_rows(a, 400, 1);
  for (auto& page : all_pages(a, next.next, 100)) b.apply(page.frame);
  EXPECT_EQ(count(b), 32);
  EXPECT_EQ(b.rows("SELECT count(*) FROM rejoin_staged"), "0\n");
}

TEST(Paging, ManySmallTransactionsAppearOneAfterAnotherNeverHalf) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  // Each transaction keeps the sum of all v at zero.
  for (int i = 0; i < 40; ++i) {
    std::string n = std::to_string(100 + i);
    a.run("BEGIN; INSERT INTO t VALUES('a" + n + "', " + n + ", 'x'), ('b" + n + "', -" + n + ", 'x'); COMMIT");
    if (i % 3 == 0) a.changeset(a.seq());  // ends a batch
  }
  Bytes cursor;
  int applied = 0;
  for (int guard = 0; guard < 500; ++guard) {
    sqlite::Page page = read_page(a, cursor, 1);
    if (page.frame.empty() && !page.more) break;
    if (!page.frame.empty()) b.apply(page.frame), ++applied;
    cursor = page.next;
    ASSERT_EQ(b.rows("SELECT coalesce(sum(v), 0) FROM t"), "0\n");
    if (guard == 20) {
      a.run("BEGIN; UPDATE t SET v = v + 1 WHERE id LIKE 'a%'; UPDATE t SET v = v - 1 WHERE id LIKE 'b%'; COMMIT");
      a.changeset(a.seq());
    }
    if (!page.more && page.through >= static_cast<uint64_t>(a.seq())) break;
  }
  EXPECT_GT(applied, 5);
  EXPECT_EQ(count(b), 80);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), a.rows("SELECT * FROM t ORDER BY id"));
}

TEST(Paging, WritesMadeWhileTheScanRunsAreNotMissedAndNotShownByHalves) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  insert_rows(a, 0, 100);
  Bytes cursor;
  for (int n = 0;; ++n) {
    ASSERT_LT(n, 500);
    sqlite::Page page = read_page(a, cursor);
    if (!page.frame.empty()) b.apply(page.frame);
    cursor = page.next;
    // Every row is always at the same v: a half transaction would show two.
    ASSERT_LE(b.number("SELECT count(DISTINCT v - rowid_of) FROM (SELECT v, CAST(substr(id, 2) AS INTEGER) - 100000 AS "
                       "rowid_of FROM t)"),
              1);
    if (n < 5) a.run("UPDATE t SET v = v + 100");
    if (!page.more && n > 5) break;
  }
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), a.rows("SELECT * FROM t ORDER BY id"));
  b.expect_sound();
}

TEST(Paging, AReorderedOrLostPageIsAGap) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  insert_rows(a, 0, 100);
  auto pages = all_pages(a);
  ASSERT_GE(pages.size(), 4u);
  EXPECT_EQ(b.apply_code(pages[1].frame), Code::gap);
  EXPECT_EQ(b.apply_code(pages.back().frame), Code::gap);
  b.apply(pages[0].frame);
  EXPECT_EQ(b.apply_code(pages[2].frame), Code::gap);
  EXPECT_EQ(count(b), 0);
  for (size_t i = 1; i < pages.size(); ++i) b.apply(pages[i].frame);
  EXPECT_EQ(count(b), 100);
  b.expect_sound();
}

TEST(Paging, RepeatedPagesDoNoHarm) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  insert_rows(a, 0, 100);
  auto pages = all_pages(a);
  ASSERT_GE(pages.size(), 4u);
  for (size_t i = 0; i + 1 < pages.size(); ++i) {
    b.apply(pages[i].frame);
    EXPECT_TRUE(b.apply(pages[i].frame).staged);
    EXPECT_TRUE(b.apply(pages[i / 2].frame).staged);
  }
  b.apply(pages.back().frame);
  EXPECT_EQ(count(b), 100);
  // The whole stream again brings nothing.
  int64_t seq = b.seq();
  for (auto& page : pages) EXPECT_EQ(b.apply(page.frame).rows_changed, 0u);
  EXPECT_EQ(b.seq(), seq);
  EXPECT_EQ(b.rows("SELECT count(*) FROM rejoin_staged"), "0\n");
}

TEST(Paging, AProcessThatDiesBetweenPagesGoesOnWhereItWas) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"}, "dies.db");
  insert_rows(a, 0, 100);
  auto pages = all_pages(a);
  ASSERT_GE(pages.size(), 4u);
  for (size_t i = 0; i < pages.size(); ++i) {
    b.apply(pages[i].frame);
    // Gone with an open transaction on the next page, as when it is killed.
    if (i + 1 < pages.size()) {
      b.run("BEGIN");
      b.apply(pages[i + 1].frame);
    }
    b.database().close(0);
  }
  EXPECT_EQ(count(b), 100);
  b.expect_sound();
}

TEST(Paging, AStreamThatBreaksOffCanStartAgain) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  insert_rows(a, 0, 100);
  auto pages = all_pages(a);
  ASSERT_GE(pages.size(), 4u);
  for (size_t i = 0; i < 3; ++i) b.apply(pages[i].frame);
  a.run("UPDATE t SET v = 'new'");
  auto again = all_pages(a, {}, 700);
  for (auto& page : again) b.apply(page.frame);
  EXPECT_EQ(b.rows("SELECT count(*), max(v), min(v) FROM t"), "100|'new'|'new'\n");
  EXPECT_EQ(b.rows("SELECT count(*) FROM rejoin_staged"), "0\n");
}

TEST(Paging, WhatWaitsFromOneSourceDoesNotHoldBackAnother) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"}), c(kSchema, {"t"});
  insert_rows(a, 0, 100);
  auto pages = all_pages(a);
  ASSERT_GE(pages.size(), 4u);
  b.apply(pages[0].frame);
  c.run("INSERT INTO t VALUES('c', 1, 2)");
  EXPECT_EQ(b.fetch(c), 1u);
  b.run("INSERT INTO t VALUES('b', 1, 2)");
  EXPECT_EQ(c.fetch(b), 1u);
  for (size_t i = 1; i < pages.size(); ++i) b.apply(pages[i].frame);
  EXPECT_EQ(count(b), 102);
}

TEST(Paging, AnyBacklogPassesThroughSmallPages) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO t SELECT "
      "printf('%08d', i), i, 'padding' FROM n");
  Bytes cursor;
  size_t largest = 0, pages = 0;
  for (;;) {
    sqlite::Page page = read_page(a, cursor, 4'096);
    if (!page.frame.empty()) b.apply(page.frame), largest = std::max(largest, page.frame.size()), ++pages;
    cursor = page.next;
    if (!page.more) break;
  }
  EXPECT_EQ(count(b), 20000);
  EXPECT_GT(pages, 10u);
  EXPECT_LT(largest, 64'000u);
}

TEST(Paging, AMergedChunkLargerThanThePageGoesThroughWhole) {
  // One log entry names all rows of a merged chunk; a page holds at least one entry.
  Peer a(kSchema, {"t"}), relay(kSchema, {"t"}), c(kSchema, {"t"});
  insert_rows(relay, 0, 1);
  Bytes cursor = all_pages(relay).back().next;
  insert_rows(a, 10, 100);
  relay.fetch(a);
  auto pages = all_pages(relay, cursor, 100);
  ASSERT_FALSE(pages.empty());
  for (const auto& page : pages) c.apply(page.frame);
  EXPECT_EQ(count(c), 100);
}

TEST(Paging, PagesReadByBarePositionsContinueEachOther) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  insert_rows(a, 0, 1);
  int64_t since = *a.rejoin().seq();
  b.fetch(a);
  insert_rows(a, 10, 200);
  int pages = 0;
  for (bool last = false; !last && pages < 1000; ++pages) {
    // A new statement for each page, as a program does that keeps only an integer.
    auto cursor = a.rejoin().cursor_at(since);
    ASSERT_TRUE(cursor.ok());
    sqlite::Page page = read_page(a, *cursor, 1000);
    b.apply(page.frame);
    since = static_cast<int64_t>(page.through);
    last = !page.more;
  }
  EXPECT_GT(pages, 3);
  EXPECT_EQ(count(b), 201);
}

TEST(Paging, APositionReadBetweenTwoWritesIsAPlaceToStartFrom) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  insert_rows(a, 0, 3);
  b.fetch(a);
  insert_rows(a, 10, 3);
  int64_t since = *a.rejoin().seq();
  insert_rows(a, 20, 3);
  auto frame = a.rejoin().changeset(since);
  ASSERT_TRUE(frame.ok() && *frame);
  b.apply(**frame);
  EXPECT_EQ(count(b), 6);
  // Inside a transaction nothing can be folded; the changeset starts a little earlier then.
  a.run("BEGIN; INSERT INTO t VALUES('x', 1, 1)");
  since = *a.rejoin().seq();
  a.run("INSERT INTO t VALUES('y', 1, 1); COMMIT");
  frame = a.rejoin().changeset(since);
  ASSERT_TRUE(frame.ok() && *frame);
  b.apply(**frame);
  EXPECT_EQ(b.rows("SELECT id FROM t WHERE id IN ('x', 'y')"), "'x'\n'y'\n");
}

TEST(Paging, APushCarriesOnlyTheReplicasOwnCells) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"}), c(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('a', 1, 1)");
  b.fetch(a);
  b.run("INSERT INTO t VALUES('b', 2, 2); UPDATE t SET v = 3 WHERE id = 'a'");
  sqlite::PageRequest request;
  request.only_site = crdt::SiteId::from(b.site());
  auto page = b.rejoin().page(request);
  ASSERT_TRUE(page.ok()) << page.error().message;
  auto reader = codec::ChangesetReader::open(page->frame);
  ASSERT_TRUE(reader.ok());
  for (const crdt::SiteId& site : reader->sites()) EXPECT_EQ(site.view(), b.site());
  c.fetch(a);
  c.apply(page->frame);
  EXPECT_EQ(c.rows("SELECT * FROM t ORDER BY id"), "'a'|3|1\n'b'|2|2\n");
}

TEST(Paging, WhatCameFromTheAskerIsLeftOut) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  b.run("INSERT INTO t VALUES('first', 1, 1)");
  Bytes cursor = read_page(b, {}).next;
  a.run("INSERT INTO t VALUES('a', 1, 1)");
  b.fetch(a);
  b.run("INSERT INTO t VALUES('b', 1, 1)");
  b.rejoin().fold().ok();
  sqlite::PageRequest request;
  request.cursor = cursor;
  request.skip_origin = crdt::SiteId::from(a.site());
  auto page = b.rejoin().page(request);
  ASSERT_TRUE(page.ok()) << page.error().message;
  EXPECT_EQ(page->rows, 1u);
  EXPECT_EQ(a.apply(page->frame).rows_seen, 1u);
  EXPECT_EQ(a.rows("SELECT id FROM t ORDER BY id"), "'a'\n'b'\n");
}

TEST(Paging, AMangledCursorIsRefusedAndAnUnknownOneStartsOver) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  insert_rows(a, 0, 20), insert_rows(b, 0, 3);
  Bytes cursor = all_pages(a).back().next;
  ASSERT_FALSE(cursor.empty());
  for (size_t i = 0; i < cursor.size(); ++i) {
    Bytes bad = cursor;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    sqlite::PageRequest request;
    request.cursor = bad;
    auto page = a.rejoin().page(request);
    ASSERT_FALSE(page.ok()) << i;
    EXPECT_EQ(page.error().code, Code::bad_argument);
  }
  // A cursor of another database (or of a time before a backup was restored) is no place in this log.
  sqlite::Page page = read_page(b, cursor, 100000);
  EXPECT_TRUE(page.restarted);
  EXPECT_EQ(page.rows, 3u);
}

}  // namespace
}  // namespace rejoin::testing
