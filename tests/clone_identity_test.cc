// A copied file takes a new site id, keeps its unsent writes and their times, and both copies go on without mixing up
// their writes.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/model_run.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v, w)";
constexpr const char* kAll = "SELECT * FROM t ORDER BY id";

// Closes the peer's connections, so that the file is whole, and copies it.
void copy_file(Peer& p, const std::string& from, const std::string& to) {
  for (int c = 0; c < 3; ++c) p.database().close(c);
  std::filesystem::copy_file(scratch_folder() + "/" + from, scratch_folder() + "/" + to,
                             std::filesystem::copy_options::overwrite_existing);
}

TEST(CloneIdentity, ACopiedFileGetsANewSiteAtItsFirstWrite) {
  Peer a(kSchema, {"t"}, "original.db"), c(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1, 1)");
  c.fetch(a);
  std::string site = a.site();
  a.run("UPDATE t SET v = 2");
  copy_file(a, "original.db", "copy.db");
  Peer b("", {}, "copy.db");
  ASSERT_TRUE(b.rejoin().fold().ok());
  EXPECT_NE(b.site(), site);
  EXPECT_EQ(a.site(), site);
  std::string fresh = b.site();
  ASSERT_TRUE(b.rejoin().fold().ok());
  EXPECT_EQ(b.site(), fresh);
}

// Replicas that have met the old stamps take the moved ones only if these are greater.
TEST(CloneIdentity, EachNewSiteIsAboveTheOneBefore) {
  Peer a(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1, 1)");
  std::string before = a.site();
  for (int copies = 0; copies < 300; ++copies) {
    ASSERT_TRUE(a.rejoin().take_new_identity().ok());
    const std::string now = a.site();
    ASSERT_GT(now, before) << copies;  // as unsigned bytes
    ASSERT_NE(now.substr(0, 4), before.substr(0, 4)) << "explain shows four bytes";
    before = now;
  }
}

TEST(CloneIdentity, BothCopiesGoOnAndConverge) {
  Peer a(kSchema, {"t"}, "both-a.db"), c(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 0, 0), ('l', 0, 0)");
  a.changeset(0);
  a.run("UPDATE t SET v = 'unsent'");
  copy_file(a, "both-a.db", "both-b.db");
  Peer b("", {}, "both-b.db");
  a.clock().advance(10), b.clock().advance(10);
  // The same column of the same row, at the same millisecond, with different values.
  a.run("UPDATE t SET w = 'a' WHERE id = 'k'; INSERT INTO t VALUES('a', 1, 1)");
  b.run("UPDATE t SET w = 'b' WHERE id = 'k'; INSERT INTO t VALUES('b', 1, 1)");
  c.fetch(a), c.fetch(b);
  exchange(a, b);
  a.fetch(c), b.fetch(c);
  EXPECT_EQ(a.rows(kAll), c.rows(kAll));
  EXPECT_EQ(b.rows(kAll), c.rows(kAll));
  EXPECT_EQ(c.rows("SELECT count(*), sum(v = 'unsent'), sum(w IN ('a', 'b')) FROM t"), "4|2|1\n");
  for (Peer* p : {&a, &b, &c}) p->expect_sound();
}

TEST(CloneIdentity, TheTimesOfUnsentWritesAreKept) {
  Peer a(kSchema, {"t"}), c(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 'a', 'a')");
  c.fetch(a);
  a.clock().advance(1000);
  a.run("UPDATE t SET v = 'monday'");
  a.rejoin().fold().ok();
  a.clock().advance(100'000);
  ASSERT_TRUE(a.rejoin().take_new_identity().ok());
  // c writes after Monday, but before the new identity was taken: c is later.
  c.clock().advance(50'000);
  c.run("UPDATE t SET v = 'tuesday'");
  exchange(a, c);
  for (Peer* p : {&a, &c}) EXPECT_EQ(p->rows(kAll), "'k'|'tuesday'|'a'\n");
}

// Of a row of its own that it has sent to nobody, as far as it knows.
TEST(CloneIdentity, ColumnsThatItsTableLacksKeepTheirValues) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 'v', 'w')");
  b.fetch(a);
  ASSERT_TRUE(a.rejoin().alter("ALTER TABLE t DROP COLUMN w").ok());
  b.clock().advance(10);
  b.run("UPDATE t SET v = 'new'");
  a.fetch(b);
  ASSERT_TRUE(a.rejoin().take_new_identity().ok());
  b.fetch(a);
  EXPECT_EQ(b.rows(kAll), "'k'|'new'|'w'\n");
  ASSERT_TRUE(a.rejoin().alter("ALTER TABLE t ADD COLUMN w").ok());
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows(kAll), "'k'|'new'|'w'\n");
    p->expect_sound();
  }
}

TEST(CloneIdentity, WhatIsNotFoldedYetGetsTheNewSite) {
  Peer a(kSchema, {"t"}), c(kSchema, {"t"});
  std::string old = a.site();
  a.run("INSERT INTO t VALUES('k', 'a', 'a')");
  ASSERT_TRUE(a.rejoin().take_new_identity().ok());
  std::string fresh = a.site();
  EXPECT_NE(fresh, old);
  sqlite::PageRequest request;
  request.only_site = crdt::SiteId::from(fresh);
  auto page = a.rejoin().page(request);
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(c.apply(page->frame).rows_changed, 1u);
  EXPECT_EQ(c.rows(kAll), "'k'|'a'|'a'\n");
}

TEST(CloneIdentity, AnOverwrittenFileIsACloneToo) {
  // A backup that is copied over the live file: the same name, another file.
  Peer a(kSchema, {"t"}, "live.db"), c(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1, 1)");
  a.changeset(0);
  std::string site = a.site();
  copy_file(a, "live.db", "backup.db");
  a.run("UPDATE t SET v = 2");
  c.fetch(a);
  for (int i = 0; i < 3; ++i) a.database().close(i);
  std::filesystem::remove(scratch_folder() + "/live.db");
  std::filesystem::rename(scratch_folder() + "/backup.db", scratch_folder() + "/live.db");
  a.run("UPDATE t SET v = 3");
  ASSERT_TRUE(a.rejoin().fold().ok());
  // The stamp that went out with v = 2 must not be given again to v = 3 by the same site.
  EXPECT_NE(a.site(), site);
}

// Claims of one instant go by their sites, which a new identity changes.
TEST(CloneIdentity, ANewIdentityDecidesAgainWhoHasAUniqueValue) {
  const std::string schema = "CREATE TABLE t(id TEXT PRIMARY KEY, mail TEXT UNIQUE)";
  for (int i = 0; i < 20; ++i) {
    Peer a(schema, {"t"}), b(schema, {"t"});
    a.run("INSERT INTO t VALUES('a', 'same')");
    b.run("INSERT INTO t VALUES('b', 'same')");
    exchange(a, b);
    ASSERT_TRUE(a.rejoin().take_new_identity().ok());
    Peer fresh(schema, {"t"});
    fresh.fetch(a);
    EXPECT_EQ(a.rows("SELECT * FROM t"), fresh.rows("SELECT * FROM t"));
    a.expect_sound(true);
  }
}

}  // namespace
}  // namespace rejoin::testing
