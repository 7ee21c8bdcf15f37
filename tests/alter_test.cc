// A tracked table can be altered and stays tracked: columns keep their versions under new names, deleted rows their
// values, nothing that was written is lost or sent again.
#include <gtest/gtest.h>

#include "sqlite/api.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, colour TEXT, n INTEGER DEFAULT 5)";
constexpr const char* kAll = "SELECT * FROM todos ORDER BY 1";

void alter(Peer& p, const std::string& sql) {
  Status done = p.rejoin().alter(sql);
  ASSERT_TRUE(done.ok()) << sql << ": " << done.error().message;
}
Error alter_error(Peer& p, const std::string& sql) {
  Status done = p.rejoin().alter(sql);
  EXPECT_FALSE(done.ok()) << sql;
  return done.ok() ? fail(Code::ok, "") : done.error();
}
void begin(Peer& p, const std::string& table) {
  Status done = p.rejoin().alter_begin(table);
  ASSERT_TRUE(done.ok()) << done.error().message;
}
void commit(Peer& p, const std::string& table) {
  Status done = p.rejoin().alter_commit(table);
  ASSERT_TRUE(done.ok()) << done.error().message;
}

class Alter : public ::testing::Test {
 protected:
  Alter() : a(kSchema, {"todos"}), b(kSchema, {"todos"}) {
    a.run(
        "INSERT INTO todos VALUES('1', 'milk', 'red', 1), ('2', 'bread', 'blue', 2), ('3', 'dead', 'grey', 3);"
        "DELETE FROM todos WHERE id = '3'");
    b.fetch(a);
    later();
  }
  void later() {
    a.clock().advance(1000);
    b.clock().advance(1000);
  }
  Peer a, b;
};

TEST_F(Alter, ARenamedColumnKeepsItsVersionsAndTheValuesOfDeletedRows) {
  const int64_t seq = a.seq();
  alter(a, "ALTER TABLE todos RENAME COLUMN colour TO color");
  EXPECT_EQ(a.seq(), seq);
  EXPECT_EQ(a.changeset(seq), Bytes());  // nothing is sent
  EXPECT_TRUE(a.restore("todos", {sim::Value::text("3")}));
  EXPECT_EQ(a.rows("SELECT id, color FROM todos ORDER BY id"), "'1'|'red'\n'2'|'blue'\n'3'|'grey'\n");
  a.expect_sound();
}

TEST_F(Alter, ADeletedButUnfoldedRowKeepsItsValuesThroughARename) {
  a.run("DELETE FROM todos WHERE id = '1'");
  alter(a, "ALTER TABLE todos RENAME colour TO color");
  EXPECT_TRUE(a.restore("todos", {sim::Value::text("1")}));
  EXPECT_EQ(a.rows("SELECT * FROM todos WHERE id = '1'"), "'1'|'milk'|'red'|1\n");
}

TEST_F(Alter, ReplicasWithTheOldNameAreUnderstoodAndGetTheNewOneWhenTheyRename) {
  alter(a, "ALTER TABLE todos RENAME COLUMN colour TO color");
  b.run("UPDATE todos SET colour = 'pink' WHERE id = '1'");
  a.fetch(b);
  EXPECT_EQ(a.rows("SELECT id, color FROM todos ORDER BY id"), "'1'|'pink'\n'2'|'blue'\n");
  later();
  a.run("UPDATE todos SET color = 'gold' WHERE id = '2'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id, colour FROM todos ORDER BY id"), "'1'|'pink'\n'2'|'blue'\n");
  EXPECT_EQ(b.rows("SELECT table_name, key FROM rejoin_parked"), "'todos'|'[\"1\"]'\n'todos'|'[\"2\"]'\n");
  alter(b, "ALTER TABLE todos RENAME COLUMN colour TO color");
  EXPECT_EQ(b.rows("SELECT id, color FROM todos ORDER BY id"), "'1'|'pink'\n'2'|'gold'\n");
  exchange(a, b);
  EXPECT_EQ(a.rows(kAll), b.rows(kAll));
  a.expect_sound();
  b.expect_sound();
}

// A relay knows neither that the two names are one, nor which is newer.
TEST_F(Alter, BothNamesInOneChangesetGiveTheNewerValue) {
  Peer relay("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, colour TEXT, n INTEGER DEFAULT 5, color TEXT)",
             {"todos"});
  relay.fetch(b);
  for (const bool old_last : {true, false}) {
    SCOPED_TRACE(old_last);
    later();
    relay.clock().set(a.clock().now_ms());
    relay.run(old_last ? "UPDATE todos SET color = 'new name' WHERE id = '1'"
                       : "UPDATE todos SET colour = 'old name' WHERE id = '1'");
    relay.seq();
    relay.clock().advance(1000);
    relay.run(old_last ? "UPDATE todos SET colour = 'the old, last' WHERE id = '1'"
                       : "UPDATE todos SET color = 'the new, last' WHERE id = '1'");
    Peer c("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, colour TEXT, n INTEGER DEFAULT 5)", {"todos"});
    alter(c, "ALTER TABLE todos RENAME COLUMN colour TO color");
    c.clock().set(relay.clock().now_ms());
    EXPECT_EQ(c.apply(relay.changeset()).rows_seen, 3u);
    EXPECT_EQ(c.rows("SELECT color FROM todos WHERE id = '1'"), old_last ? "'the old, last'\n" : "'the new, last'\n");
    c.expect_sound();
  }
}

TEST_F(Alter, ADroppedColumnIsGoneAndTheRestGoesOn) {
  EXPECT_NE(a.attempt("ALTER TABLE todos DROP COLUMN colour"), SQLITE_OK);  // the capture triggers name it
  alter(a, "ALTER TABLE todos DROP COLUMN colour");
  a.run("UPDATE todos SET title = 'oat milk' WHERE id = '1'; INSERT INTO todos VALUES('4', 'four', 4)");
  exchange(a, b);
  EXPECT_EQ(a.rows(kAll), "'1'|'oat milk'|1\n'2'|'bread'|2\n'4'|'four'|4\n");
  EXPECT_EQ(b.rows(kAll), "'1'|'oat milk'|'red'|1\n'2'|'bread'|'blue'|2\n'4'|'four'|null|4\n");
  EXPECT_TRUE(a.restore("todos", {sim::Value::text("3")}));
  EXPECT_EQ(a.rows("SELECT * FROM todos WHERE id = '3'"), "'3'|'dead'|3\n");
  a.expect_sound(true);  // what b has in the column waits
  b.expect_sound();
}

TEST_F(Alter, AColumnThatComesBackAfterADropIsANewOne) {
  alter(a, "ALTER TABLE todos DROP COLUMN colour");
  later();
  const int64_t before = b.seq();
  b.run("UPDATE todos SET colour = 'pink' WHERE id = '1'");
  a.apply(b.changeset(before));
  alter(a, "ALTER TABLE todos ADD COLUMN colour TEXT DEFAULT 'none'");
  EXPECT_EQ(a.rows("SELECT id, colour FROM todos ORDER BY id"), "'1'|'pink'\n'2'|'none'\n");
  // What the others have comes with all they have.
  a.apply(b.changeset(0));
  EXPECT_EQ(a.rows("SELECT id, colour FROM todos ORDER BY id"), "'1'|'pink'\n'2'|'blue'\n");
  a.expect_sound();
}

TEST_F(Alter, AnAddedColumnSendsNothing) {
  const int64_t seq = a.seq();
  alter(a, "ALTER TABLE todos ADD COLUMN due TEXT NOT NULL DEFAULT 'soon'");
  EXPECT_EQ(a.seq(), seq);
  a.run("UPDATE todos SET due = 'today' WHERE id = '1'");
  Peer c(
      "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, colour TEXT, n INTEGER, due TEXT NOT NULL DEFAULT 'soon')",
      {"todos"});
  c.fetch(a);
  EXPECT_EQ(c.rows("SELECT id, due FROM todos ORDER BY id"), "'1'|'today'\n'2'|'soon'\n");
  a.run("ALTER TABLE todos ADD COLUMN plain TEXT");  // noticed by itself
  a.run("UPDATE todos SET plain = 'x' WHERE id = '2'");
  c.run("ALTER TABLE todos ADD COLUMN plain TEXT");
  c.fetch(a);
  EXPECT_EQ(c.rows("SELECT id, plain FROM todos ORDER BY id"), "'1'|null\n'2'|'x'\n");
  a.expect_sound();
}

TEST(AlterLarge, ADefaultedColumnOfAMillionRowsIsMetadataOnly) {
  Peer a("CREATE TABLE t(id TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID");
  a.run(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) INSERT INTO t SELECT "
      "printf('%07d', i), i FROM n");
  a.track("t");
  const int64_t seq = a.seq();
  const int64_t pages = a.number("PRAGMA page_count");
  const int changes = sqlite3_total_changes(a.handle());
  alter(a, "ALTER TABLE t ADD COLUMN done INTEGER NOT NULL DEFAULT 0");
  EXPECT_LT(sqlite3_total_changes(a.handle()) - changes, 20);
  EXPECT_LT(a.number("PRAGMA page_count") - pages, 20);
  EXPECT_EQ(a.seq(), seq);
  EXPECT_EQ(a.changeset(seq), Bytes());
  EXPECT_EQ(a.number("SELECT count(*) FROM t WHERE done = 0"), 1'000'000);
}

TEST_F(Alter, ARenamedTableIsUnderstoodByItsOldName) {
  alter(a, "ALTER TABLE todos RENAME TO tasks");
  b.run("UPDATE todos SET title = 'from the old name' WHERE id = '1'");
  a.fetch(b);
  EXPECT_EQ(a.rows("SELECT title FROM tasks WHERE id = '1'"), "'from the old name'\n");
  EXPECT_TRUE(a.restore("tasks", {sim::Value::text("3")}));
  a.run("UPDATE tasks SET title = 'from the new name' WHERE id = '2'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT title FROM todos WHERE id = '2'"), "'bread'\n");
  alter(b, "ALTER TABLE todos RENAME TO tasks");
  exchange(a, b);
  EXPECT_EQ(b.rows("SELECT * FROM tasks ORDER BY id"), a.rows("SELECT * FROM tasks ORDER BY id"));
  EXPECT_EQ(b.rows("SELECT title FROM tasks WHERE id = '2'"), "'from the new name'\n");
  a.expect_sound();
  b.expect_sound();
}

TEST_F(Alter, AKeyColumnCanBeRenamed) {
  alter(a, "ALTER TABLE todos RENAME COLUMN id TO uid");
  b.run("UPDATE todos SET title = 'by id' WHERE id = '1'; INSERT INTO todos(id) VALUES('4')");
  a.fetch(b);
  EXPECT_EQ(a.rows("SELECT uid, title FROM todos ORDER BY uid"), "'1'|'by id'\n'2'|'bread'\n'4'|null\n");
  a.run("DELETE FROM todos WHERE uid = '2'");
  b.fetch(a);
  alter(b, "ALTER TABLE todos RENAME COLUMN id TO uid");
  EXPECT_EQ(b.rows("SELECT uid FROM todos ORDER BY uid"), "'1'\n'4'\n");
  exchange(a, b);
  EXPECT_EQ(a.rows(kAll), b.rows(kAll));
  a.expect_sound();
  b.expect_sound();
}

TEST_F(Alter, IndexesComeAndGo) {
  alter(a, "CREATE UNIQUE INDEX titles ON todos(title)");
  a.run("INSERT OR REPLACE INTO todos(id, title) VALUES('9', 'milk')");  // displaces row 1
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id FROM todos ORDER BY id"), "'2'\n'9'\n");
  alter(a, "DROP INDEX main.titles");
  a.run("INSERT INTO todos(id, title) VALUES('10', 'milk')");
  a.expect_sound();
}

TEST_F(Alter, OtherSqlIsRefusedAndChangesNothing) {
  const std::string before = a.dump();
  for (const char* sql :
       {"UPDATE todos SET n = 0", "DROP TABLE todos", "ALTER TABLE todos ADD COLUMN x; DELETE FROM todos", "",
        "CREATE TABLE x(y)", "CREATE TRIGGER x AFTER DELETE ON todos BEGIN SELECT 1; END", "DROP VIEW v",
        "ALTER TABLE temp.todos ADD COLUMN x", "-- ALTER TABLE todos ADD COLUMN x", "'ALTER' TABLE todos ADD COLUMN x"})
    EXPECT_EQ(alter_error(a, sql).code, Code::bad_argument) << sql;
  a.run("CREATE TABLE other(id TEXT PRIMARY KEY)");
  EXPECT_EQ(alter_error(a, "ALTER TABLE other ADD COLUMN x").code, Code::not_tracked);
  EXPECT_EQ(alter_error(a, "ALTER TABLE nowhere ADD COLUMN x").code, Code::not_tracked);
  EXPECT_EQ(alter_error(a, "DROP INDEX nowhere").code, Code::not_found);
  a.run("DROP TABLE other");
  for (const char* sql :
       {"ALTER TABLE todos ADD COLUMN title", "ALTER TABLE todos DROP COLUMN id", "ALTER TABLE todos SPLIT",
        "ALTER TABLE todos ADD COLUMN x NOT NULL", "CREATE UNIQUE INDEX i ON todos(nothing)"}) {
    const Error error = alter_error(a, sql);
    EXPECT_EQ(error.code, Code::bad_argument) << sql;
    EXPECT_NE(error.message.find("nothing was changed"), std::string::npos) << error.message;
  }
  EXPECT_EQ(a.dump(), before);
  a.run("UPDATE todos SET n = 7 WHERE id = '1'");
  b.fetch(a);
  EXPECT_EQ(b.number("SELECT n FROM todos WHERE id = '1'"), 7);
  a.expect_sound();
}

TEST_F(Alter, ItIsPartOfTheTransactionAroundIt) {
  a.run("BEGIN");
  alter(a, "/* quoted */ alter table \"main\".[todos] rename colour to \"a \"\"new\"\" name\" ;");
  a.run("UPDATE todos SET \"a \"\"new\"\" name\" = 'x'; ROLLBACK");
  a.run("UPDATE todos SET colour = 'y' WHERE id = '1'");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id, colour FROM todos ORDER BY id"), "'1'|'y'\n'2'|'blue'\n");
  a.expect_sound();
}

// ---- several statements

TEST_F(Alter, SeveralStatementsAreOneChange) {
  begin(a, "todos");
  a.run(
      "ALTER TABLE todos RENAME COLUMN colour TO color; ALTER TABLE todos DROP COLUMN n;"
      "ALTER TABLE todos ADD COLUMN due TEXT DEFAULT 'soon'; UPDATE todos SET due = 'today' WHERE id = '1';"
      "UPDATE todos SET title = 'rye' WHERE id = '2'; INSERT INTO todos VALUES('4', 'new', 'c', 'd');"
      "INSERT INTO todos VALUES('5', 'passing', 'c', 'd'); DELETE FROM todos WHERE id = '5'");
  commit(a, "todos");
  EXPECT_TRUE(sqlite3_get_autocommit(a.handle()));
  a.expect_sound();
  Peer c("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, color TEXT, due TEXT DEFAULT 'soon')", {"todos"});
  c.fetch(a);
  EXPECT_EQ(c.rows(kAll), "'1'|'milk'|'red'|'today'\n'2'|'rye'|'blue'|'soon'\n'4'|'new'|'c'|'d'\n");
  EXPECT_EQ(a.rows(kAll), c.rows(kAll));
  // The column that was not written keeps its version: an edit that was made elsewhere before wins over nothing newer.
  EXPECT_EQ(a.rows("SELECT count(*) FROM rejoin_log WHERE op = 2 AND k0 = '2'"), "1\n");
  b.run("UPDATE todos SET colour = 'pink' WHERE id = '2'");
  a.fetch(b);
  EXPECT_EQ(a.rows("SELECT color, title FROM todos WHERE id = '2'"), "'pink'|'rye'\n");
  EXPECT_TRUE(a.restore("todos", {sim::Value::text("3")}));
  EXPECT_EQ(a.rows("SELECT color FROM todos WHERE id = '3'"), "'grey'\n");
}

TEST_F(Alter, ADeletionMeanwhileKeepsItsValues) {
  begin(a, "todos");
  a.run("ALTER TABLE todos RENAME COLUMN colour TO color; DELETE FROM todos WHERE id = '1'");
  commit(a, "todos");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id FROM todos"), "'2'\n");
  EXPECT_TRUE(a.restore("todos", {sim::Value::text("1")}));
  EXPECT_EQ(a.rows("SELECT title, color, n FROM todos WHERE id = '1'"), "'milk'|'red'|1\n");
  a.expect_sound();
}

TEST_F(Alter, ATableBuiltAnewIsTheSameTable) {
  begin(a, "todos");
  a.run(
      "CREATE TABLE fresh(n INTEGER DEFAULT 5, id TEXT NOT NULL PRIMARY KEY, colour TEXT CHECK (colour <> ''), title "
      "TEXT) STRICT;"
      "INSERT INTO fresh(id, title, colour, n) SELECT id, title, colour, n FROM todos; DROP TABLE todos;"
      "ALTER TABLE fresh RENAME TO todos");
  const int64_t tail = a.number("SELECT max(seq) FROM rejoin_log");
  commit(a, "todos");
  EXPECT_EQ(a.number("SELECT max(seq) FROM rejoin_log"), tail);  // no row has changed
  a.run("UPDATE todos SET title = 'oat milk' WHERE id = '1'");
  b.run("UPDATE todos SET colour = 'pink' WHERE id = '1'");
  exchange(a, b);
  EXPECT_EQ(a.rows("SELECT title, colour FROM todos WHERE id = '1'"), "'oat milk'|'pink'\n");
  EXPECT_EQ(b.rows("SELECT title, colour FROM todos WHERE id = '1'"), "'oat milk'|'pink'\n");
  EXPECT_TRUE(a.restore("todos", {sim::Value::text("3")}));
  a.expect_sound();
}

TEST_F(Alter, TheOldTableMayBeMovedAwayFirst) {
  begin(a, "todos");
  a.run(
      "ALTER TABLE todos RENAME TO old; CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, colour TEXT, n INTEGER "
      "DEFAULT 5);"
      "INSERT INTO todos SELECT * FROM old; DROP TABLE old");
  commit(a, "todos");
  b.run("UPDATE todos SET title = 'b' WHERE id = '1'");
  a.fetch(b);
  EXPECT_EQ(a.rows("SELECT title FROM todos WHERE id = '1'"), "'b'\n");
  a.expect_sound();
}

TEST_F(Alter, ATableCanBeRenamedAmongOthers) {
  begin(a, "todos");
  a.run(
      "ALTER TABLE todos RENAME TO tasks; ALTER TABLE tasks RENAME COLUMN title TO name; UPDATE tasks SET name = 'x' "
      "WHERE id = '1'");
  commit(a, "tasks");
  b.fetch(a);
  b.run("ALTER TABLE todos RENAME TO tasks");
  alter(b, "ALTER TABLE tasks RENAME COLUMN title TO name");
  exchange(a, b);
  EXPECT_EQ(b.rows("SELECT * FROM tasks ORDER BY 1"), "'1'|'x'|'red'|1\n'2'|'bread'|'blue'|2\n");
  a.expect_sound();
  b.expect_sound();
}

TEST_F(Alter, ANewKeyTakesTheVersionsAlong) {
  const char* rebuild =
      "CREATE TABLE fresh(owner TEXT NOT NULL DEFAULT 'me', id TEXT NOT NULL, title TEXT, colour TEXT, n INTEGER "
      "DEFAULT 5, PRIMARY KEY(owner, id));"
      "INSERT INTO fresh(id, title, colour, n) SELECT * FROM todos; DROP TABLE todos; ALTER TABLE fresh RENAME TO "
      "todos";
  begin(a, "todos");
  a.run(rebuild);
  commit(a, "todos");
  a.run("UPDATE todos SET title = 'oat milk' WHERE id = '1'");
  a.expect_sound();
  // b migrates later; what a wrote since is not overwritten by it.
  later();
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id, title FROM todos ORDER BY id"), "'1'|'milk'\n'2'|'bread'\n");
  begin(b, "todos");
  b.run(rebuild);
  commit(b, "todos");
  b.run("UPDATE todos SET colour = 'pink' WHERE id = '1'");
  exchange(a, b);
  for (Peer* p : {&a, &b}) {
    EXPECT_EQ(p->rows("SELECT owner, id, title, colour FROM todos ORDER BY id"),
              "'me'|'1'|'oat milk'|'pink'\n'me'|'2'|'bread'|'blue'\n");
    p->expect_sound();
  }
  // The key that was becomes an ordinary column.
  begin(a, "todos");
  a.run(
      "CREATE TABLE fresh(uid TEXT NOT NULL PRIMARY KEY, owner TEXT, id TEXT, title TEXT);"
      "INSERT INTO fresh SELECT owner || '/' || id, owner, id, title FROM todos; DROP TABLE todos; ALTER TABLE fresh "
      "RENAME TO todos;"
      "INSERT INTO todos VALUES('fresh', 'me', '7', 'seven'); UPDATE todos SET title = 'rye' WHERE id = '2'");
  commit(a, "todos");
  a.expect_sound();
  Peer c("CREATE TABLE todos(uid TEXT NOT NULL PRIMARY KEY, owner TEXT, id TEXT, title TEXT)", {"todos"});
  c.fetch(a);
  EXPECT_EQ(c.rows(kAll), "'fresh'|'me'|'7'|'seven'\n'me/1'|'me'|'1'|'oat milk'\n'me/2'|'me'|'2'|'rye'\n");
}

TEST(AlterKeyType, AKeyOfAnotherTypeIsANewKey) {
  sqlite::TrackOptions integer;
  integer.allow_integer_key = true;
  Peer a("CREATE TABLE t(id INTEGER PRIMARY KEY, v)"), b("CREATE TABLE t(id TEXT NOT NULL PRIMARY KEY, v)", {"t"});
  a.track("t", integer);
  a.run("INSERT INTO t VALUES(1, 'one'), (2, 'two')");
  a.seq();
  begin(a, "t");
  a.run(
      "CREATE TABLE fresh(id TEXT NOT NULL PRIMARY KEY, v); INSERT INTO fresh SELECT * FROM t; DROP TABLE t; ALTER "
      "TABLE fresh RENAME TO t; UPDATE t SET v = 'changed' WHERE id = '2'");
  commit(a, "t");
  a.expect_sound();
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'1'|'one'\n'2'|'changed'\n");
  b.expect_sound();
}

TEST_F(Alter, RollbackGivesEverythingBack) {
  begin(a, "todos");
  a.run("ALTER TABLE todos DROP COLUMN colour; DELETE FROM todos; ROLLBACK");
  a.run("UPDATE todos SET colour = 'pink' WHERE id = '1'");
  Status late = a.rejoin().alter_commit("todos");
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, Code::bad_argument);
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id, colour FROM todos ORDER BY id"), "'1'|'pink'\n'2'|'blue'\n");
  a.expect_sound();
}

TEST_F(Alter, ACommitByHandIsSettledAtTheNextUse) {
  begin(a, "todos");
  a.run("ALTER TABLE todos DROP COLUMN n; UPDATE todos SET title = 'x' WHERE id = '1'; COMMIT");
  a.run("UPDATE todos SET title = 'y' WHERE id = '2'; DELETE FROM todos WHERE id = '1'");  // before that use
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id, title, n FROM todos ORDER BY id"), "'2'|'y'|2\n");
  a.expect_sound();
  EXPECT_EQ(a.number("SELECT count(*) FROM sqlite_schema WHERE name GLOB '*alter*'"), 0);
}

TEST_F(Alter, MeanwhileNothingElseIsDoneWithTheDatabase) {
  begin(a, "todos");
  auto tried = a.rejoin().apply(b.changeset());
  ASSERT_FALSE(tried.ok());
  EXPECT_EQ(tried.error().code, Code::in_transaction);
  Status twice = a.rejoin().alter_begin("todos");
  ASSERT_FALSE(twice.ok());
  EXPECT_EQ(twice.error().code, Code::bad_argument);
  a.run("DROP TABLE todos");
  Status gone = a.rejoin().alter_commit("todos");
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().code, Code::not_found);
  a.run("CREATE TABLE todos(title TEXT)");
  Status unfit = a.rejoin().alter_commit("todos");
  ASSERT_FALSE(unfit.ok());
  EXPECT_EQ(unfit.error().code, Code::untrackable);
  EXPECT_FALSE(sqlite3_get_autocommit(a.handle()));
  a.run("ROLLBACK");
  EXPECT_EQ(a.number("SELECT count(*) FROM todos"), 2);
  a.expect_sound();
}

TEST_F(Alter, TwoTablesAtOnce) {
  a.run("CREATE TABLE u(id TEXT PRIMARY KEY, v)");
  a.track("u");
  a.run("INSERT INTO u VALUES('x', 1)");
  a.run("BEGIN");
  begin(a, "todos");
  begin(a, "u");
  a.run("ALTER TABLE u RENAME COLUMN v TO w; UPDATE u SET w = 2; ALTER TABLE todos DROP COLUMN n");
  commit(a, "u");
  alter(a, "ALTER TABLE todos DROP COLUMN colour");
  commit(a, "todos");
  a.run("COMMIT");
  a.expect_sound();
  EXPECT_EQ(a.rows(kAll), "'1'|'milk'\n'2'|'bread'\n");
  EXPECT_EQ(a.rows("SELECT * FROM u"), "'x'|2\n");
}

TEST_F(Alter, ManyColumnsFollowToo) {
  std::string columns, names;
  for (int i = 0; i < 30; ++i) columns += ", c" + std::to_string(i), names += ", " + std::to_string(i);
  Peer wide("CREATE TABLE w(id TEXT PRIMARY KEY" + columns + ")", {"w"});
  wide.run("INSERT INTO w VALUES('1'" + names + "), ('2'" + names + ")");
  wide.seq();
  wide.clock().advance(1000);
  begin(wide, "w");
  wide.run(
      "ALTER TABLE w DROP COLUMN c3; ALTER TABLE w RENAME COLUMN c20 TO d20; UPDATE w SET d20 = 'x', c29 = 'y' WHERE "
      "id = '2'; ALTER TABLE w ADD COLUMN c30; UPDATE w SET c30 = 'z' WHERE id = '1'");
  commit(wide, "w");
  wide.run("UPDATE w SET c30 = 'zz' WHERE id = '2'");
  wide.expect_sound();
  std::string rest;
  for (int i = 0; i < 30; ++i)
    if (i != 3) rest += i == 20 ? ", d20" : ", c" + std::to_string(i);
  Peer c("CREATE TABLE w(id TEXT PRIMARY KEY" + rest + ", c30)", {"w"});
  c.fetch(wide);
  EXPECT_EQ(c.rows("SELECT id, c2, c4, d20, c29, c30 FROM w ORDER BY id"), "'1'|2|4|20|29|'z'\n'2'|2|4|'x'|'y'|'zz'\n");
}

// Symptom: after a rolled-back index, one made later under the same schema version went unnoticed, its REPLACE unseen.
TEST_F(Alter, AnIndexAfterARolledBackOneIsNoticed) {
  a.run("BEGIN; CREATE INDEX plain ON todos(title)");
  a.seq();
  a.run("ROLLBACK; CREATE UNIQUE INDEX titles ON todos(title)");
  a.seq();
  a.run("INSERT OR REPLACE INTO todos VALUES('4', 'milk', 'new', 4)");
  b.run("CREATE UNIQUE INDEX titles ON todos(title)");
  exchange(a, b);
  exchange(a, b);
  EXPECT_EQ(a.rows("SELECT id FROM todos ORDER BY id"), "'2'\n'4'\n");
  EXPECT_EQ(b.rows("SELECT id FROM todos ORDER BY id"), "'2'\n'4'\n");
  a.expect_sound();
  b.expect_sound();
}

// Symptom: rejoin_alter_commit() committed the application's own transaction, after an earlier one of begin's had been
// rolled back by hand.
TEST_F(Alter, CommitLeavesTheApplicationsTransactionOpenAfterARollbackByHand) {
  for (const char* end : {"ROLLBACK", "COMMIT"}) {
    begin(a, "todos");
    a.run(end);
    a.seq();
    a.run("BEGIN; INSERT INTO todos(id) VALUES('mine')");
    begin(a, "todos");
    a.run("ALTER TABLE todos ADD COLUMN x");
    commit(a, "todos");
    EXPECT_EQ(sqlite3_get_autocommit(a.handle()), 0) << end;
    a.run("ROLLBACK");
    EXPECT_EQ(a.rows("SELECT * FROM todos WHERE id = 'mine'"), "");
    a.expect_sound();
  }
}

// Symptom: likewise, when begin's transaction had been committed by hand and the next one was the application's.
TEST_F(Alter, CommitLeavesATransactionOpenThatTheApplicationBeganAfterACommitByHand) {
  begin(a, "todos");
  a.run("ALTER TABLE todos ADD COLUMN x; UPDATE todos SET x = 'new'; COMMIT");
  a.run("BEGIN; INSERT INTO todos(id) VALUES('mine')");
  commit(a, "todos");
  EXPECT_EQ(sqlite3_get_autocommit(a.handle()), 0);
  a.run("ROLLBACK");
  EXPECT_EQ(a.rows("SELECT id, x FROM todos ORDER BY id"), "'1'|'new'\n'2'|'new'\n");
  a.run("BEGIN");
  commit(a, "todos");
  a.run("COMMIT");
  b.run("ALTER TABLE todos ADD COLUMN x");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id, x FROM todos ORDER BY id"), "'1'|'new'\n'2'|'new'\n");
  a.expect_sound();
}

// Symptom: a default that SQLite takes for text was NULL on replicas that had not written the row.
TEST_F(Alter, ANameAsADefaultIsText) {
  for (const char* column : {"dq TEXT DEFAULT \"d\"\"q\"", "bare TEXT NOT NULL DEFAULT abc"})
    for (Peer* p : {&a, &b})
      ASSERT_TRUE(p->rejoin().alter(std::string("ALTER TABLE todos ADD COLUMN ") + column).ok()) << column;
  later();
  a.run("INSERT INTO todos(id) VALUES('new')");
  exchange(a, b);
  EXPECT_EQ(a.rows("SELECT DISTINCT dq, bare FROM todos"), "'d\"q'|'abc'\n");
  EXPECT_EQ(b.rows("SELECT * FROM todos ORDER BY id"), a.rows("SELECT * FROM todos ORDER BY id"));
  b.expect_sound();
}

TEST_F(Alter, ADefaultThatReplicasMayReadDifferentlyIsRefused) {
  for (const char* column : {"x TEXT DEFAULT 1e2", "x TEXT DEFAULT 007", "x INTEGER DEFAULT (CAST('1' AS INTEGER))"}) {
    const std::string before = a.dump();
    EXPECT_FALSE(a.rejoin().alter(std::string("ALTER TABLE todos ADD COLUMN ") + column).ok()) << column;
    EXPECT_EQ(a.dump(), before);
  }
  for (const char* column : {"x TEXT DEFAULT 12", "y TEXT DEFAULT -3", "z REAL DEFAULT 1e2", "v INTEGER DEFAULT 007"})
    EXPECT_TRUE(a.rejoin().alter(std::string("ALTER TABLE todos ADD COLUMN ") + column).ok()) << column;
  EXPECT_EQ(a.number("SELECT count(*) FROM rejoin_log WHERE seq > " + std::to_string(a.seq())), 0);
}

// Symptom: the children of a table that was made anew were deleted, here and everywhere.
TEST_F(Alter, ATableMadeAnewUnderEnforcedForeignKeysIsRefusedWhenOthersReferToIt) {
  a.run(
      "CREATE TABLE steps(id TEXT PRIMARY KEY, todo TEXT REFERENCES todos ON DELETE CASCADE);"
      "INSERT INTO steps VALUES('s', '1'); PRAGMA foreign_keys = ON");
  a.track("steps");
  const auto anew = [&] {
    begin(a, "todos");
    a.run(
        "CREATE TABLE fresh(id TEXT PRIMARY KEY, title TEXT NOT NULL, color TEXT, n INTEGER DEFAULT 5);"
        "INSERT INTO fresh SELECT * FROM todos; DROP TABLE todos; ALTER TABLE fresh RENAME TO todos");
    return a.rejoin().alter_commit("todos");
  };
  const Status refused = anew();
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("PRAGMA foreign_keys=OFF"), std::string::npos) << refused.error().message;
  a.run("ROLLBACK; PRAGMA foreign_keys = OFF");
  EXPECT_TRUE(anew().ok());
  a.run("PRAGMA foreign_keys = ON");
  EXPECT_EQ(a.rows("SELECT * FROM steps"), "'s'|'1'\n");
  a.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
