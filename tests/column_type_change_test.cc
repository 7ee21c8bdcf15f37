// A column gets another type, by the documented rebuild: when all have made the change and have exchanged, all show the
// same rows and nothing waits; what SQLite only converted beats nobody's later edit.
#include <gtest/gtest.h>

#include <random>

#include "sqlite/api.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

std::string table_of(const std::string& name, const std::string& type, bool strict = false) {
  return "CREATE TABLE " + name + "(id TEXT NOT NULL PRIMARY KEY, v " + type + ", w TEXT)" + (strict ? " STRICT" : "");
}

void rebuild(Peer& p, const std::string& type, bool strict = false) {
  Status begun = p.rejoin().alter_begin("t");
  ASSERT_TRUE(begun.ok()) << begun.error().message;
  p.run(table_of("fresh", type, strict) +
        "; INSERT INTO fresh SELECT id, v, w FROM t; DROP TABLE t;"
        "ALTER TABLE fresh RENAME TO t");
  Status done = p.rejoin().alter_commit("t");
  ASSERT_TRUE(done.ok()) << done.error().message;
}

constexpr const char* kAll = "SELECT id, v, typeof(v), w FROM t ORDER BY id";

class World {
 public:
  explicit World(const std::string& type, bool strict = false)
      : a(table_of("t", type, strict), {"t"}),
        b(table_of("t", type, strict), {"t"}),
        c(table_of("t", type, strict), {"t"}) {}
  void later() {
    for (Peer* p : {&a, &b, &c}) p->clock().advance(1000);
  }
  void exchange_all() {
    for (int round = 0; round < 3; ++round)
      for (Peer* to : {&a, &b, &c})
        for (Peer* from : {&a, &b, &c})
          if (to != from) to->fetch(*from);
    later();
  }
  void expect_equal(const std::string& rows) {
    for (Peer* p : {&a, &b, &c}) {
      EXPECT_EQ(p->rows(kAll), rows);
      p->expect_sound();
    }
    // Nothing is said again for ever.
    const int64_t seq = a.seq();
    exchange_all();
    EXPECT_EQ(a.seq(), seq);
  }
  Peer a, b, c;
};

struct Change {
  const char *name, *from, *to, *before, *after, *shown, *edited;
};
std::ostream& operator<<(std::ostream& out, const Change& c) { return out << c.name; }

class AColumnTypeChange : public ::testing::TestWithParam<Change> {};

// Written before the change, while only one has made it, and by one that has.
TEST_P(AColumnTypeChange, EndsWithTheSameRowsEverywhere) {
  const Change& x = GetParam();
  World w(x.from);
  w.a.run(std::string("INSERT INTO t VALUES('1', ") + x.before + ", 'w'), ('2', NULL, 'w'), ('3', 'abc', 'w')");
  w.exchange_all();
  rebuild(w.b, x.to);
  w.later();
  w.a.run(std::string("UPDATE t SET v = ") + x.after + " WHERE id = '1'; INSERT INTO t VALUES('4', " + x.after +
          ", 'new')");
  w.later();
  w.exchange_all();
  rebuild(w.a, x.to);
  w.exchange_all();
  rebuild(w.c, x.to);
  w.exchange_all();
  w.expect_equal(std::string("'1'|") + x.edited + "|'w'\n'2'|null|'null'|'w'\n'3'|'abc'|'text'|'w'\n'4'|" + x.edited +
                 "|'new'\n");
  Peer late(table_of("t", x.to), {"t"});
  late.fetch(w.b);
  EXPECT_EQ(late.rows(kAll), w.a.rows(kAll));
  late.expect_sound();
}

// The last one to upgrade has not heard of an edit that another made before.
TEST_P(AColumnTypeChange, OfAReplicaThatWasAwayBeatsNoLaterEdit) {
  const Change& x = GetParam();
  World w(x.from);
  w.a.run(std::string("INSERT INTO t VALUES('1', ") + x.before + ", 'w')");
  w.exchange_all();
  rebuild(w.b, x.to);
  w.later();
  w.b.run(std::string("UPDATE t SET v = ") + x.after);
  w.later();
  rebuild(w.a, x.to);
  w.later();
  rebuild(w.c, x.to);
  w.later();
  w.exchange_all();
  w.expect_equal(std::string("'1'|") + x.edited + "|'w'\n");
}

// Which of them heard of whom first does not matter, nor who has made the change when.
TEST_P(AColumnTypeChange, ReachesAllInAnyOrder) {
  const Change& x = GetParam();
  World w(x.from);
  w.a.run(std::string("INSERT INTO t VALUES('1', ") + x.before + ", 'w')");
  rebuild(w.b, x.to);
  w.b.fetch(w.a);
  w.c.fetch(w.b);  // has the old type, and hears of it from one with the new
  rebuild(w.a, x.to);
  w.b.fetch(w.c);
  rebuild(w.c, x.to);
  w.exchange_all();
  w.expect_equal(std::string("'1'|") + x.shown + "|'w'\n");
}

INSTANTIATE_TEST_SUITE_P(
    All, AColumnTypeChange,
    ::testing::Values(Change{"text_to_integer", "TEXT", "INTEGER", "'5'", "'6'", "5|'integer'", "6|'integer'"},
                      Change{"text_to_real", "TEXT", "REAL", "'5'", "'6.5'", "0x1.4p+2|'real'", "0x1.ap+2|'real'"},
                      Change{"text_to_numeric", "TEXT", "NUMERIC", "'5.5'", "'6'", "0x1.6p+2|'real'", "6|'integer'"},
                      Change{"real_to_integer", "REAL", "INTEGER", "5.0", "6.5", "5|'integer'", "0x1.ap+2|'real'"},
                      Change{"integer_to_real", "INTEGER", "REAL", "5", "6", "0x1.4p+2|'real'", "0x1.8p+2|'real'"},
                      Change{"integer_to_text", "INTEGER", "TEXT", "5", "6", "'5'|'text'", "'6'|'text'"},
                      Change{"none_to_integer", "", "INTEGER", "'5'", "'6'", "5|'integer'", "6|'integer'"},
                      Change{"none_to_text", "", "TEXT", "5", "6.5", "'5'|'text'", "'6.5'|'text'"},
                      Change{"large_to_integer", "REAL", "INTEGER", "1e17", "-3e18", "100000000000000000|'integer'",
                             "-3000000000000000000|'integer'"},
                      Change{"largest_to_text", "INTEGER", "TEXT", "9223372036854775807", "-9223372036854775808",
                             "'9223372036854775807'|'text'", "'-9223372036854775808'|'text'"},
                      // No other number's form, so these are told anew, with the conversion's own version.
                      Change{"zeros_to_integer", "TEXT", "INTEGER", "'05'", "'007'", "5|'integer'", "7|'integer'"},
                      Change{"point_zero_to_real", "TEXT", "REAL", "'5.0'", "'6.0'", "0x1.4p+2|'real'",
                             "0x1.8p+2|'real'"},
                      Change{"real_to_text", "REAL", "TEXT", "5.0", "6.0", "'5.0'|'text'", "'6.0'|'text'"}),
    [](const ::testing::TestParamInfo<Change>& change) { return std::string(change.param.name); });

TEST(ColumnTypeChange, AConversionIsNoNewsAndIsShownToThoseWithTheOldType) {
  World w("TEXT");
  w.a.run("INSERT INTO t VALUES('1', '5', 'w')");
  w.exchange_all();
  const int64_t seq = w.b.seq();
  rebuild(w.b, "INTEGER");
  EXPECT_EQ(w.b.changeset(seq), Bytes());
  w.later();
  w.b.run("UPDATE t SET v = 6");
  w.a.fetch(w.b);
  EXPECT_EQ(w.a.rows(kAll), "'1'|'6'|'text'|'w'\n");
  w.later();
  w.a.run("UPDATE t SET v = '7'");
  w.b.fetch(w.a);
  EXPECT_EQ(w.b.rows(kAll), "'1'|7|'integer'|'w'\n");
  w.a.expect_sound(), w.b.expect_sound();
}

// Text that only looks like a number would be lost.
TEST(ColumnTypeChange, TextThatIsNoNumbersOwnWaits) {
  World w("TEXT");
  rebuild(w.b, "INTEGER");
  w.a.run("INSERT INTO t VALUES('1', '01234', 'w')");
  w.b.fetch(w.a);
  EXPECT_EQ(w.b.rows(kAll), "");
  EXPECT_EQ(w.b.rows("SELECT key, reason FROM rejoin_parked"),
            "'[\"1\"]'|'the table would store another value than it was sent (column types differ)'\n");
  w.c.fetch(w.b);
  EXPECT_EQ(w.c.rows(kAll), "'1'|'01234'|'text'|'w'\n");
  w.b.run("SELECT 1");
  rebuild(w.b, "TEXT");
  EXPECT_EQ(w.b.rows(kAll), "'1'|'01234'|'text'|'w'\n");
  w.b.expect_sound();
}

TEST(ColumnTypeChange, StrictTablesAreNoOther) {
  World w("TEXT", true);
  w.a.run("INSERT INTO t VALUES('1', '5', 'w')");
  w.exchange_all();
  rebuild(w.b, "INTEGER", true);
  w.later();
  w.a.run("UPDATE t SET v = '6'; INSERT INTO t VALUES('2', 'six', 'w')");
  w.b.fetch(w.a);
  EXPECT_EQ(w.b.rows(kAll), "'1'|6|'integer'|'w'\n");  // the other is refused by the table
  w.a.run("UPDATE t SET v = '8' WHERE id = '2'");
  rebuild(w.a, "INTEGER", true);
  w.exchange_all();
  rebuild(w.c, "INTEGER", true);
  w.exchange_all();
  w.expect_equal("'1'|6|'integer'|'w'\n'2'|8|'integer'|'w'\n");
}

// What the migration itself says is a write of its moment, as ever.
TEST(ColumnTypeChange, WhatTheMigrationWritesIsAWrite) {
  World w("TEXT");
  w.a.run("INSERT INTO t VALUES('1', '5.7', 'w'), ('2', 'abc', 'w')");
  w.exchange_all();
  ASSERT_TRUE(w.b.rejoin().alter_begin("t").ok());
  w.b.run(table_of("fresh", "INTEGER") +
          "; INSERT INTO fresh SELECT id, CAST(v AS INTEGER), w FROM t; DROP TABLE t;"
          "ALTER TABLE fresh RENAME TO t");
  ASSERT_TRUE(w.b.rejoin().alter_commit("t").ok());
  w.later();
  rebuild(w.a, "INTEGER"), rebuild(w.c, "INTEGER");
  w.exchange_all();
  w.expect_equal("'1'|5|'integer'|'w'\n'2'|0|'integer'|'w'\n");
}

TEST(ColumnTypeChange, DeletedRowsComeBackWithTheNewType) {
  World w("TEXT");
  w.a.run("INSERT INTO t VALUES('1', '5', 'w'); DELETE FROM t");
  w.exchange_all();
  rebuild(w.a, "INTEGER"), rebuild(w.b, "INTEGER"), rebuild(w.c, "INTEGER");
  EXPECT_TRUE(w.b.restore("t", {sim::Value::text("1")}));
  w.exchange_all();
  w.expect_equal("'1'|5|'integer'|'w'\n");
}

// Any types, any values, upgrades and exchanges in any order, some rows deleted and restored.
TEST(ColumnTypeChange, ManyStoriesEndTheSameWay) {
  const char* types[] = {"TEXT", "INTEGER", "REAL", "NUMERIC", "", "BLOB"};
  const char* values[] = {"5",
                          "'5'",
                          "5.0",
                          "'5.0'",
                          "'05'",
                          "5.5",
                          "'5.5'",
                          "' 7'",
                          "'abc'",
                          "x'35'",
                          "NULL",
                          "''",
                          "1e20",
                          "'1e3'",
                          "-0.0",
                          "'-0'",
                          "0.1+0.2",
                          "1e15",
                          "9007199254740993",
                          "'9223372036854775808'",
                          "'0x10'",
                          "-7",
                          "'+7'",
                          "1e-7",
                          "'12345678901234567890'"};
  for (unsigned seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    std::minstd_rand random(seed);
    const auto pick = [&](size_t n) { return static_cast<size_t>(random() >> 8) % n; };
    const std::string from = types[pick(6)], to = types[pick(6)];
    SCOPED_TRACE(from + " to " + to);
    World w(from);
    Peer* peers[] = {&w.a, &w.b, &w.c};
    bool upgraded[] = {false, false, false};
    for (int step = 0; step < 25; ++step) {
      const size_t i = pick(3), j = pick(3);
      Peer& p = *peers[i];
      const std::string key = "'" + std::to_string(pick(4)) + "'", value = values[pick(std::size(values))];
      switch (pick(8)) {
        case 0:
        case 1:
          p.run("INSERT INTO t VALUES(" + key + ", " + value + ", 'w') ON CONFLICT DO UPDATE SET v = excluded.v");
          break;
        case 2:
          p.run("UPDATE t SET v = " + value + " WHERE id = " + key);
          break;
        case 3:
          p.run("UPDATE t SET w = 'w" + std::to_string(step) + "' WHERE id = " + key);
          break;
        case 4:
          if (pick(3))
            p.run("DELETE FROM t WHERE id = " + key);
          else
            (void)p.rejoin().restore("t", std::vector{crdt::ValueRef::of_text(BytesView(key).substr(1, 1))});
          break;
        case 5:
          if (!upgraded[i] && pick(2)) rebuild(p, to), upgraded[i] = true;
          break;
        default:
          if (i != j) p.fetch(*peers[j]);
      }
      w.later();
    }
    for (size_t i : {1u, 0u, 2u})
      if (!upgraded[i]) rebuild(*peers[i], to), w.later();
    w.exchange_all();
    const std::string rows = w.a.rows(kAll);
    EXPECT_EQ(w.b.rows(kAll), rows);
    EXPECT_EQ(w.c.rows(kAll), rows);
    for (Peer* p : peers) {
      EXPECT_EQ(p->rows("SELECT key, \"values\", reason FROM rejoin_parked"), "");
      p->expect_sound();
    }
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace rejoin::testing
