// A tracked table is renamed away or dropped, and a new one is made and tracked under its name: replicas agree all the
// same, and what the migration filled into new columns stays.
#include <gtest/gtest.h>

#include "tests/support/peer.h"
#include "tests/support/sync_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kTodos = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0)";
const std::string kAll = "SELECT * FROM todos ORDER BY id";

class NameTakenAgain : public ::testing::Test {
 protected:
  NameTakenAgain() {
    a.peer.run("INSERT INTO todos VALUES('1', 'one', 0), ('2', 'two', 0)");
    b.peer.run("INSERT INTO todos VALUES('3', 'three', 0)");
    settle();
    tick();
    b.peer.run("UPDATE todos SET title='by b' WHERE id='2'");
    settle();
    tick();
  }
  void tick() {
    for (Peer* p : {&a.peer, &b.peer, &server.peer()}) p->clock().advance(1000);
  }
  void settle() {
    for (int i = 0; i < 3; ++i)
      for (LoopbackDevice* device : {&a, &b}) device->must_sync(server);
  }
  void expect_same(const std::string& sql, const std::string& rows) {
    EXPECT_EQ(a.peer.rows(sql), rows);
    EXPECT_EQ(b.peer.rows(sql), rows);
    EXPECT_EQ(server.peer().rows(sql), rows);
    a.peer.expect_sound(true);
  }
  // Whether the rebuild keeps the old table, and whether Rejoin hears of each step or of all at once.
  void rebuild(const std::string& columns, const std::string& values, bool keep_old, bool look) {
    a.peer.run("ALTER TABLE todos RENAME TO old");
    if (look) a.peer.seq();
    a.peer.run("CREATE TABLE todos(" + columns + "); INSERT INTO todos SELECT " + values + " FROM old");
    if (look) a.peer.seq();
    if (!keep_old) a.peer.run("DROP TABLE old");
    if (look) a.peer.seq();
    a.peer.track("todos");
  }
  LoopbackServer server;
  LoopbackDevice a{"a", kTodos, {"todos"}}, b{"b", kTodos, {"todos"}};
};

TEST_F(NameTakenAgain, ANewTableInPlaceOfARenamedOneGetsWhatTheOthersHave) {
  a.peer.run("ALTER TABLE todos RENAME TO archive");
  a.peer.seq();
  a.peer.run(kTodos);
  a.peer.track("todos");
  settle();
  expect_same(kAll, "'1'|'one'|0\n'2'|'by b'|0\n'3'|'three'|0\n");
  tick();
  a.peer.run("UPDATE todos SET done=1 WHERE id='3'; DELETE FROM todos WHERE id='1'");
  settle();
  expect_same(kAll, "'2'|'by b'|0\n'3'|'three'|1\n");
  EXPECT_EQ(a.peer.rows("SELECT id, title FROM archive ORDER BY id"), "'1'|'one'\n'2'|'by b'\n'3'|'three'\n");
}

TEST_F(NameTakenAgain, ARebuildThatKeepsOrDropsTheOldTableLosesOnlyWhatWasNotSent) {
  for (const bool keep_old : {true, false})
    for (const bool look : {true, false}) {
      SCOPED_TRACE((keep_old ? "keeps" : "drops") + std::string(look ? ", looked at" : ""));
      a.peer.run(
          "UPDATE todos SET title='unsent' WHERE id='1'; DELETE FROM todos WHERE id='2'; INSERT INTO todos "
          "VALUES('4', 'new', 0) ON CONFLICT DO NOTHING");
      rebuild("id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0", "*", keep_old, look);
      settle();
      expect_same(kAll, "'1'|'one'|0\n'2'|'by b'|0\n'3'|'three'|0\n'4'|'new'|0\n");
      if (keep_old) a.peer.run("DROP TABLE old");
      tick();
    }
}

TEST_F(NameTakenAgain, AnotherSyncedTableThatTakesTheNameGetsWhatTheOthersHave) {
  a.peer.run("CREATE TABLE drafts(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0)");
  a.peer.track("drafts");
  a.peer.run("INSERT INTO drafts VALUES('d', 'draft', 0); ALTER TABLE todos RENAME TO archive");
  a.peer.seq();
  a.peer.run("ALTER TABLE drafts RENAME TO todos");
  settle();
  expect_same(kAll, "'1'|'one'|0\n'2'|'by b'|0\n'3'|'three'|0\n'd'|'draft'|0\n");
}

TEST_F(NameTakenAgain, WhatARebuildFilledIntoANewColumnStays) {
  for (const char* table : {"new", "old"}) {
    SCOPED_TRACE(table);
    const std::string columns =
        "id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, slug_" + std::string(table) + " TEXT";
    if (table == std::string("new")) {
      a.peer.run(
          "CREATE TABLE new(" + columns +
          "); INSERT INTO new SELECT *, 'slug-'||id FROM todos WHERE id<>'3';"
          "INSERT INTO new SELECT *, NULL FROM todos WHERE id='3'; DROP TABLE todos; ALTER TABLE new RENAME TO todos");
      a.peer.track("todos");
    } else {
      rebuild("id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, slug_old TEXT",
              "id, title, done, CASE WHEN id<>'3' THEN 'slug-'||id END", true, true);
    }
    b.peer.run("ALTER TABLE todos ADD COLUMN slug_" + std::string(table) + " TEXT");
    settle();
    const std::string rows = "SELECT id, title, slug_" + std::string(table) + " FROM todos ORDER BY id";
    expect_same(rows, "'1'|'one'|'slug-1'\n'2'|'by b'|'slug-2'\n'3'|'three'|null\n");
    b.peer.expect_sound(true);
  }
}

TEST_F(NameTakenAgain, ARebuildWinsOverNoEditThatAnotherHasMadeInTheNewColumn) {
  const std::string rebuilt =
      "CREATE TABLE new(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, slug TEXT); INSERT INTO new SELECT *, "
      "'slug-'||id FROM todos; DROP TABLE todos; ALTER TABLE new RENAME TO todos";
  a.peer.run(rebuilt);
  a.peer.track("todos");
  tick();
  a.peer.run("UPDATE todos SET slug='mine' WHERE id='2'");
  settle();
  tick();
  b.peer.run(rebuilt);
  b.peer.track("todos");
  settle();
  expect_same(kAll, "'1'|'one'|0|'slug-1'\n'2'|'by b'|0|'mine'\n'3'|'three'|0|'slug-3'\n");
  b.peer.expect_sound(true);
}

// As documented: everything is given once more, `since` 0.
TEST(NameTakenAgainBetweenFiles, EverythingGivenOnceMoreMakesThemAgree) {
  Peer a(kTodos, {"todos"}), b(kTodos, {"todos"});
  a.run("INSERT INTO todos VALUES('1', 'one', 0), ('2', 'two', 0)");
  b.run("INSERT INTO todos VALUES('3', 'three', 0)");
  exchange(a, b);
  for (const bool keep_old : {true, false}) {
    for (Peer* p : {&a, &b}) p->clock().advance(1000);
    a.run(std::string("ALTER TABLE todos RENAME TO old; CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done "
                      "INTEGER DEFAULT 0, slug ") +
          (keep_old ? "TEXT" : "TEXT, more TEXT") +
          "); INSERT INTO todos SELECT *, 'filled-'||id FROM old WHERE id<>'2'" + (keep_old ? "" : "; DROP TABLE old"));
    a.track("todos");
    b.run(std::string("ALTER TABLE todos ADD COLUMN ") + (keep_old ? "slug TEXT" : "more TEXT"));
    a.apply(b.changeset(0));
    b.apply(a.changeset(0));
    EXPECT_EQ(a.rows(kAll), b.rows(kAll));
    EXPECT_EQ(a.number("SELECT count(*) FROM todos"), 3);
    EXPECT_EQ(a.rows(std::string("SELECT ") + (keep_old ? "slug" : "more") + " FROM todos WHERE id='1'"),
              "'filled-1'\n");
    EXPECT_EQ(a.rows("SELECT slug FROM todos WHERE id='3'"), "'filled-3'\n");
    a.expect_sound(true);
    b.expect_sound(true);
    if (keep_old) a.run("DROP TABLE old");
  }
}

}  // namespace
}  // namespace rejoin::testing
