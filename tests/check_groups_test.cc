// P3's stated exception, P9: columns that one CHECK or one composite foreign key reads are written together, so that
// every merged row was valid where it was written; what a table refuses all the same waits, and nothing else with it.
#include <gtest/gtest.h>

#include <memory>

#include "tests/support/constrained.h"

namespace rejoin::testing {
namespace {

TEST(CheckGroups, TwoValidEditsOfColumnsOfOneCheckDoNotMakeAnInvalidRow) {
  for (const char* schema :
       {"CREATE TABLE t(id TEXT PRIMARY KEY, low, high, note, CHECK (low <= high))",
        "CREATE TABLE t(id TEXT PRIMARY KEY, low CHECK (\"low\" <= high), high, note)",
        "CREATE TABLE t(id TEXT PRIMARY KEY, low, high, note, span AS (high - low) CHECK (span >= 0))",
        "CREATE TABLE t(id TEXT PRIMARY KEY, low, high, note, twice AS (low * 2), span AS (high * 2 - twice) STORED, "
        "CHECK /* not -- (note) */ (span >= 0 AND 'note' <> ''))"}) {
    SCOPED_TRACE(schema);
    tell({.schema = schema,
          .tracked = {"t"},
          .before = {"INSERT INTO t(id, low, high, note) VALUES('1', 1, 10, '')"},
          // Each is valid, low 8 with high 5 is not.
          .apart = {{0, "UPDATE t SET low = 8"}, {1, "UPDATE t SET high = 5"}, {2, "UPDATE t SET note = 'kept'"}},
          .query = "SELECT low, high, note FROM t",
          .rows = "1|5|'kept'\n"});
  }
}

TEST(CheckGroups, ColumnsOfOneCompositeForeignKeyAreWrittenTogether) {
  tell({.schema =
            "PRAGMA foreign_keys = ON; CREATE TABLE places(country TEXT, code INTEGER, PRIMARY KEY(country, code));"
            "CREATE TABLE stops(id TEXT PRIMARY KEY, country TEXT, place INTEGER, n,"
            "  FOREIGN KEY(country, place) REFERENCES places)",
        .tracked = {"places", "stops"},
        .before =
            {"INSERT INTO places VALUES('DE', 1), ('DE', 2), ('FR', 1); INSERT INTO stops VALUES('s', 'DE', 1, 0)"},
        .apart = {{0, "UPDATE stops SET place = 2"}, {1, "UPDATE stops SET country = 'FR'"}},
        .query = "SELECT * FROM stops",
        .rows = "'s'|'FR'|1|0\n"});
}

TEST(CheckGroups, WhatACheckRefusesHereWaitsUntilTheSchemaAllowsIt) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v)", {"t"});
  Peer b("CREATE TABLE t(id TEXT PRIMARY KEY, v CHECK (v < 10))", {"t"});
  a.run("INSERT INTO t VALUES('1', 5), ('2', 50), ('3', 6)");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'1'|5\n'3'|6\n");
  EXPECT_EQ(b.rows("SELECT key, reason FROM rejoin_parked"), "'[\"2\"]'|'CHECK constraint failed: v < 10'\n");
  a.run("UPDATE t SET v = 9 WHERE id = '2'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'1'|5\n'2'|9\n'3'|6\n");
  b.expect_sound();
}

// The first replica's table takes less than the others'. The first two write; whose write comes first to a third one,
// and who hears of the other first, is one axis, how many there are the other.
struct OneSide {
  size_t replicas;
  bool stricter_first;
};

class OneSideOnly : public ::testing::TestWithParam<OneSide> {
 protected:
  void make(const std::string& stricter, const std::string& others) {
    for (size_t i = 0; i < GetParam().replicas; ++i)
      peers.push_back(std::make_unique<Peer>(i ? others : stricter, std::vector<std::string>{"t"}));
  }
  void settle() {
    const size_t early = GetParam().stricter_first ? 0 : 1, late = 1 - early;
    if (peers.size() > 2) peers[2]->fetch(*peers[early]), peers[2]->fetch(*peers[late]);
    peers[late]->fetch(*peers[early]);
    peers[early]->fetch(*peers[late]);
    for (auto& to : peers)
      for (auto& from : peers)
        if (to != from) to->fetch(*from);
  }
  // All but the first, which shows `stricter`.
  void expect_rows(const std::string& stricter, const std::string& others) {
    for (size_t i = 0; i < peers.size(); ++i)
      EXPECT_EQ(peers[i]->rows("SELECT * FROM t ORDER BY id"), i ? others : stricter) << "replica " << i;
  }
  void expect_parked(const std::string& by_first) {
    for (size_t i = 0; i < peers.size(); ++i) {
      EXPECT_EQ(peers[i]->rows("SELECT key, reason FROM rejoin_parked"), i ? "" : by_first) << "replica " << i;
      peers[i]->expect_sound(true);
    }
  }
  std::vector<std::unique_ptr<Peer>> peers;
};

TEST_P(OneSideOnly, ANotNullColumn) {
  make("CREATE TABLE t(id TEXT PRIMARY KEY, v, n INTEGER NOT NULL, d INTEGER NOT NULL DEFAULT 7)",
       "CREATE TABLE t(id TEXT PRIMARY KEY, v)");
  peers[0]->run("INSERT INTO t VALUES('2', 'y', 2, 3)");
  peers[1]->run("INSERT INTO t VALUES('1', 'x')");
  settle();
  expect_rows("'2'|'y'|2|3\n", "'1'|'x'\n'2'|'y'\n");
  EXPECT_EQ(peers[0]->rows("SELECT key, reason FROM rejoin_parked"), "'[\"1\"]'|'NOT NULL constraint failed: t.n'\n");
  for (size_t i = 1; i < peers.size(); ++i)
    peers[i]->run("ALTER TABLE t ADD COLUMN n INTEGER; ALTER TABLE t ADD COLUMN d INTEGER NOT NULL DEFAULT 7");
  peers[1]->run("UPDATE t SET n = 1 WHERE id = '1'");
  settle();
  const std::string all = "'1'|'x'|1|7\n'2'|'y'|2|3\n";
  expect_rows(all, all);
  expect_parked("");
}

TEST_P(OneSideOnly, AStrictTable) {
  make("CREATE TABLE t(id TEXT PRIMARY KEY, i INTEGER, n ANY) STRICT", "CREATE TABLE t(id TEXT PRIMARY KEY, i, n)");
  peers[0]->run("INSERT INTO t VALUES('0', 0, 'of 0')");
  peers[1]->run("INSERT INTO t VALUES('1', 1, 'y'), ('2', 'two', 'x'), ('3', 3, NULL)");
  settle();
  expect_rows("'0'|0|'of 0'\n'1'|1|'y'\n'3'|3|null\n", "'0'|0|'of 0'\n'1'|1|'y'\n'2'|'two'|'x'\n'3'|3|null\n");
  expect_parked("'[\"2\"]'|'cannot store TEXT value in INTEGER column t.i'\n");
  // It is passed on as it was.
  Peer late("CREATE TABLE t(id TEXT PRIMARY KEY, i, n)", {"t"});
  late.fetch(*peers[0]);
  EXPECT_EQ(late.rows("SELECT * FROM t ORDER BY id"), peers[1]->rows("SELECT * FROM t ORDER BY id"));
  peers[1]->run("UPDATE t SET i = 2 WHERE id = '2'");
  settle();
  const std::string all = "'0'|0|'of 0'\n'1'|1|'y'\n'2'|2|'x'\n'3'|3|null\n";
  expect_rows(all, all);
  expect_parked("");
}

INSTANTIATE_TEST_SUITE_P(Peers, OneSideOnly,
                         ::testing::Values(OneSide{2, false}, OneSide{2, true}, OneSide{3, false}, OneSide{3, true}),
                         [](const auto& of) {
                           return std::to_string(of.param.replicas) +
                                  (of.param.stricter_first ? "_stricterFirst" : "_stricterLast");
                         });

}  // namespace
}  // namespace rejoin::testing
