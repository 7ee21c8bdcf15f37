// A changed key is a delete of the old row and an insert of the new one, with every column stamped anew.
#include <gtest/gtest.h>

#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema = "CREATE TABLE places(code TEXT PRIMARY KEY, name TEXT, size INTEGER)";
constexpr const char* kAll = "SELECT * FROM places ORDER BY code";

TEST(KeyChange, TheRowMovesEverywhere) {
  Peer a(kSchema, {"places"}), b(kSchema, {"places"});
  a.run("INSERT INTO places VALUES('ZR', 'Zaire', 1)");
  b.fetch(a);
  a.run("UPDATE places SET code = 'CD' WHERE code = 'ZR'");
  b.fetch(a);
  EXPECT_EQ(b.rows(kAll), "'CD'|'Zaire'|1\n");
  a.expect_sound(), b.expect_sound();
}

TEST(KeyChange, WithOtherColumnsInTheSameStatement) {
  Peer a(kSchema, {"places"}), b(kSchema, {"places"});
  a.run("INSERT INTO places VALUES('ZR', 'Zaire', 1)");
  b.fetch(a);
  a.run("UPDATE places SET code = 'CD', name = 'Congo' WHERE code = 'ZR'");
  b.fetch(a);
  EXPECT_EQ(b.rows(kAll), "'CD'|'Congo'|1\n");
}

TEST(KeyChange, AnEditOfTheOldKeyStaysWithTheDeadRow) {
  Peer a(kSchema, {"places"}), b(kSchema, {"places"});
  a.run("INSERT INTO places VALUES('ZR', 'Zaire', 1)");
  b.fetch(a);
  a.run("UPDATE places SET code = 'CD'");
  b.clock().advance(60'000);
  b.run("UPDATE places SET name = 'Zaïre' WHERE code = 'ZR'");
  exchange(a, b);
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows(kAll), "'CD'|'Zaire'|1\n");
  EXPECT_TRUE(b.restore("places", {sim::Value::text("ZR")}));
  a.fetch(b);
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows(kAll), "'CD'|'Zaire'|1\n'ZR'|'Zaïre'|1\n");
    p->expect_sound();
  }
}

TEST(KeyChange, EveryColumnOfTheNewRowIsNew) {
  Peer a(kSchema, {"places"}), b(kSchema, {"places"});
  a.run("INSERT INTO places VALUES('ZR', 'Zaire', 1)");
  b.fetch(a);
  // b makes a row under the new key; a moves its row there later and so overwrites every column.
  b.run("INSERT INTO places VALUES('CD', 'Brazzaville', 99)");
  a.clock().advance(1000);
  a.run("UPDATE places SET code = 'CD' WHERE code = 'ZR'");
  exchange(a, b);
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows(kAll), "'CD'|'Zaire'|1\n");
}

TEST(KeyChange, TwoRowsSwapTheirKeys) {
  Peer a(kSchema, {"places"}), b(kSchema, {"places"});
  a.run("INSERT INTO places VALUES('A', 'first', 1), ('B', 'second', 2)");
  b.fetch(a);
  a.run(
      "BEGIN; UPDATE places SET code = 'tmp' WHERE code = 'A'; UPDATE places SET code = 'A' WHERE code = 'B'; "
      "UPDATE places SET code = 'B' WHERE code = 'tmp'; COMMIT");
  b.fetch(a);
  EXPECT_EQ(b.rows(kAll), "'A'|'second'|2\n'B'|'first'|1\n");
  a.expect_sound(), b.expect_sound();
}

TEST(KeyChange, ThereAndBackAgain) {
  Peer a(kSchema, {"places"}), b(kSchema, {"places"});
  a.run("INSERT INTO places VALUES('A', 'first', 1)");
  b.fetch(a);
  a.run("UPDATE places SET code = 'B'; UPDATE places SET code = 'A', size = 2");
  b.fetch(a);
  EXPECT_EQ(b.rows(kAll), "'A'|'first'|2\n");
  EXPECT_FALSE(b.restore("places", {sim::Value::text("A")}));
  EXPECT_TRUE(b.restore("places", {sim::Value::text("B")}));
  EXPECT_EQ(b.rows(kAll), "'A'|'first'|2\n'B'|'first'|1\n");
}

TEST(KeyChange, OntoAnExistingRow) {
  Peer a(kSchema, {"places"}), b(kSchema, {"places"});
  a.run("INSERT INTO places VALUES('A', 'first', 1), ('B', 'second', 2)");
  b.fetch(a);
  EXPECT_NE(a.attempt("UPDATE places SET code = 'B' WHERE code = 'A'"), 0);
  a.run("UPDATE OR IGNORE places SET code = 'B' WHERE code = 'A'");
  EXPECT_EQ(b.fetch(a), 0u);
  a.run("UPDATE OR REPLACE places SET code = 'B' WHERE code = 'A'");
  b.fetch(a);
  EXPECT_EQ(b.rows(kAll), "'B'|'first'|1\n");
  a.expect_sound(), b.expect_sound();
}

TEST(KeyChange, AnUpdateThatSetsTheKeyToItselfChangesNothing) {
  Peer a(kSchema, {"places"}), b(kSchema, {"places"});
  a.run("INSERT INTO places VALUES('A', 'first', 1)");
  b.fetch(a);
  a.run("UPDATE places SET code = code");
  EXPECT_EQ(b.fetch(a), 0u);
}

TEST(KeyChange, OnePartOfACompositeKey) {
  const char* schema = "CREATE TABLE lines(doc TEXT, no INTEGER, text TEXT, PRIMARY KEY(doc, no)) WITHOUT ROWID";
  Peer a(schema, {"lines"}), b(schema, {"lines"});
  a.run("INSERT INTO lines VALUES('d', 1, 'one'), ('d', 2, 'two'), ('e', 1, 'three')");
  b.fetch(a);
  a.run("UPDATE lines SET no = no + 10 WHERE doc = 'd'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM lines ORDER BY doc, no"), "'d'|11|'one'\n'd'|12|'two'\n'e'|1|'three'\n");
  a.expect_sound(), b.expect_sound();
}

TEST(KeyChange, AnIntegerKeyChangedThroughItsAlias) {
  const char* schema = "CREATE TABLE n(id INTEGER PRIMARY KEY, v)";
  sqlite::TrackOptions options;
  options.allow_integer_key = true;
  Peer a(schema), b(schema);
  a.track("n", options), b.track("n", options);
  a.run("INSERT INTO n VALUES(1, 'x'), (2, 'y')");
  b.fetch(a);
  a.run(
      "UPDATE n SET rowid = 10 WHERE id = 1; UPDATE n SET _rowid_ = 20 WHERE id = 2; UPDATE n SET oid = 30, v = 'z' "
      "WHERE id = 20");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM n ORDER BY id"), "10|'x'\n30|'z'\n");
  a.expect_sound(), b.expect_sound();
}

TEST(KeyChange, ChangedOnBothSides) {
  Peer a(kSchema, {"places"}), b(kSchema, {"places"});
  a.run("INSERT INTO places VALUES('A', 'row', 1)");
  b.fetch(a);
  a.run("UPDATE places SET code = 'B'");
  b.run("UPDATE places SET code = 'C'");
  exchange(a, b);
  // Two devices made two rows of one; nothing is lost.
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows(kAll), "'B'|'row'|1\n'C'|'row'|1\n");
}

}  // namespace
}  // namespace rejoin::testing
