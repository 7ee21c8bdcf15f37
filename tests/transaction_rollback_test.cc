// P6: rows and metadata change together. What is rolled back leaves no trace; what may still be rolled back never gets
// out.
#include <gtest/gtest.h>

#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v)";

TEST(Rollback, LeavesNoTrace) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1)");
  b.fetch(a);
  std::string before = a.dump();
  a.run(
      "BEGIN; UPDATE t SET v = 2; INSERT INTO t VALUES('l', 3); DELETE FROM t WHERE id = 'k'; UPDATE t SET id = 'm'; "
      "ROLLBACK");
  EXPECT_EQ(a.dump(), before);
  EXPECT_TRUE(a.changeset(a.seq()).empty());
  EXPECT_EQ(b.fetch(a), 0u);
}

TEST(Rollback, ToASavepointTakesBackOnlyWhatCameAfter) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run(
      "BEGIN; INSERT INTO t VALUES('k', 1); SAVEPOINT s; UPDATE t SET v = 2; INSERT INTO t VALUES('l', 3); ROLLBACK TO "
      "s; "
      "INSERT INTO t VALUES('m', 4); RELEASE s; COMMIT");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'k'|1\n'm'|4\n");
  a.expect_sound(), b.expect_sound();
}

TEST(Rollback, AFailedStatementLeavesNoTrace) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v CHECK (v < 10))", {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('a', 1), ('b', 9)");
  b.fetch(a);
  EXPECT_NE(a.attempt("UPDATE t SET v = v + 5"), 0);
  EXPECT_NE(a.attempt("INSERT INTO t VALUES('c', 1), ('d', 2), ('a', 3)"), 0);
  EXPECT_NE(a.attempt("INSERT OR FAIL INTO t VALUES('e', 1), ('f', 99), ('g', 3)"), 0);
  // OR FAIL keeps the rows before the failing one.
  EXPECT_EQ(b.fetch(a), 1u);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'a'|1\n'b'|9\n'e'|1\n");
  EXPECT_NE(a.attempt("INSERT OR ROLLBACK INTO t VALUES('h', 99)"), 0);
  EXPECT_EQ(b.fetch(a), 0u);
  a.expect_sound();
}

TEST(Rollback, UncommittedWritesAreNeverExported) {
  Peer a(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1)");
  a.run("BEGIN; UPDATE t SET v = 2");
  auto changeset = a.rejoin().changeset(0);
  ASSERT_FALSE(changeset.ok());
  EXPECT_EQ(changeset.error().code, Code::in_transaction);
  auto page = a.rejoin().page({});
  ASSERT_FALSE(page.ok());
  EXPECT_EQ(page.error().code, Code::in_transaction);
  a.run("ROLLBACK");
  EXPECT_FALSE(a.changeset(0).empty());
}

TEST(Rollback, OfARestoreAMergeAndAFold) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1), ('l', 1)");
  b.fetch(a);
  b.run("UPDATE t SET v = 2");
  Bytes news = b.changeset(0);
  a.run("DELETE FROM t WHERE id = 'k'");
  std::string before = a.dump();
  a.run("BEGIN");
  ASSERT_TRUE(a.rejoin().fold().ok());
  EXPECT_TRUE(a.restore("t", {sim::Value::text("k")}));
  EXPECT_GT(a.apply(news).rows_changed, 0u);
  a.run("ROLLBACK");
  EXPECT_EQ(a.dump(), before);
  EXPECT_GT(a.apply(news).rows_changed, 0u);
  a.expect_sound();
}

TEST(Rollback, StampsThatWereGivenAndTakenBackAreGivenAgainToTheRealWrite) {
  // A replica must not remember a clock that was rolled back, nor forget one that was not.
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1)");
  b.fetch(a);
  b.clock().advance(3'600'000);
  b.run("UPDATE t SET v = 'ahead'");
  Bytes ahead = b.changeset(0);
  a.run("BEGIN");
  a.apply(ahead);
  a.run("ROLLBACK");
  a.run("UPDATE t SET v = 'mine'");
  // a never kept b's stamp, so b's later one wins.
  exchange(a, b);
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows("SELECT v FROM t"), "'ahead'\n");
  a.run("UPDATE t SET v = 'after'");
  exchange(a, b);
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows("SELECT v FROM t"), "'after'\n");
}

TEST(Rollback, TrackingCanBeRolledBack) {
  Peer a(kSchema);
  std::string before = a.dump();
  a.run("BEGIN");
  a.track("t");
  a.run("INSERT INTO t VALUES('k', 1)");
  a.run("ROLLBACK");
  EXPECT_EQ(a.dump(), before);
  a.track("t");
  a.run("INSERT INTO t VALUES('k', 1)");
  EXPECT_FALSE(a.changeset(0).empty());
  a.expect_sound();
}

TEST(Rollback, AMergeInsideTheAppsTransactionDoesNotMakeItsCommitFail) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  b.run("INSERT INTO t VALUES('k', 1)");
  a.run("BEGIN; INSERT INTO t VALUES('mine', 2)");
  a.apply(b.changeset(0));
  a.run("INSERT INTO t VALUES('later', 3); COMMIT");
  b.fetch(a);
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows("SELECT * FROM t ORDER BY id"), "'k'|1\n'later'|3\n'mine'|2\n");
}

}  // namespace
}  // namespace rejoin::testing
