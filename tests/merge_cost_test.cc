// P10: what a merge costs depends on what it brings.
#include <gtest/gtest.h>

#include "sqlite/api.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

// SQLite's own count of what a merge of one row takes, beside so many rows that are kept aside.
int64_t opcodes_of_a_merge(int kept_aside) {
  Peer newer("CREATE TABLE t(id INTEGER PRIMARY KEY NOT NULL, v, extra)");
  Peer older("CREATE TABLE t(id INTEGER PRIMARY KEY NOT NULL, v)");
  sqlite::TrackOptions integer;
  integer.allow_integer_key = true;
  for (Peer* p : {&newer, &older}) p->track("t", integer);
  newer.run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " + std::to_string(kept_aside) +
            ") INSERT INTO t SELECT i, 'v', 'extra' FROM n");
  older.fetch(newer);
  EXPECT_EQ(older.number("SELECT count(*) FROM rejoin_parked"), kept_aside);
  newer.clock().advance(1000);
  newer.run("UPDATE t SET v = 'new' WHERE id = 1");
  int64_t count = 0;
  sqlite3_progress_handler(
      older.handle(), 1, [](void* n) { return ++*static_cast<int64_t*>(n), 0; }, &count);
  EXPECT_EQ(older.fetch(newer), 1u);
  sqlite3_progress_handler(older.handle(), 0, nullptr, nullptr);
  older.expect_sound(true);
  return count;
}

// Symptom: each merge looked at every row that was kept aside, twice.
TEST(MergeCost, AMergeDoesNotLookAtAllThatIsKeptAside) {
  EXPECT_LT(opcodes_of_a_merge(2'000), 2 * opcodes_of_a_merge(20));
}

// Symptom: a changeset that came again switched triggers off and on, and all prepared statements had to be made anew.
TEST(MergeCost, WhatIsKnownAlreadyLeavesPreparedStatementsAlone) {
  const std::string schema = "CREATE TABLE t(id TEXT PRIMARY KEY, v)";
  Peer a(schema, {"t"}), b(schema, {"t"});
  a.run("INSERT INTO t VALUES('1', 'x')");
  const Bytes frame = a.changeset();
  b.apply(frame);
  sqlite3_stmt* s = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(b.handle(), "SELECT v FROM t", -1, &s, nullptr), SQLITE_OK);
  for (int time = 0; time < 3; ++time) {
    EXPECT_EQ(sqlite3_step(s), SQLITE_ROW);
    sqlite3_reset(s);
    EXPECT_EQ(b.apply(frame).rows_changed, 0u);
  }
  EXPECT_EQ(sqlite3_stmt_status(s, SQLITE_STMTSTATUS_REPREPARE, 0), 0);
  sqlite3_finalize(s);
}

}  // namespace
}  // namespace rejoin::testing
