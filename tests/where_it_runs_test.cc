// Databases that are opened in every way: each does something sensible, which docs/sql.md ("Where it runs") names.
#include <gtest/gtest.h>

#include <filesystem>

#include "sqlite/functions.h"
#include "tests/support/fault_story.h"
#include "tests/support/model_run.h"

namespace rejoin::testing {
namespace {

constexpr const char* kTable = "CREATE TABLE t(id TEXT PRIMARY KEY, v); SELECT rejoin_track('t');";

class WhereItRuns : public ::testing::Test {
 protected:
  WhereItRuns() : path(scratch_folder() + "/where.db") {
    for (const char* beside : {"", "-wal", "-shm", "-journal"}) std::filesystem::remove(path + beside);
  }
  static sqlite3* open_plain(const std::string& file, int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open_v2(file.c_str(), &db, flags | SQLITE_OPEN_URI, nullptr), SQLITE_OK);
    return db;
  }
  static sqlite3* open_read_only(const std::string& file) {
    sqlite3* db = open_plain(file, SQLITE_OPEN_READONLY);
    EXPECT_TRUE(sqlite::install(db).ok());
    return db;
  }
  static void must(sqlite3* db, const std::string& sql) {
    ASSERT_EQ(run_sql(db, sql), SQLITE_OK) << sqlite3_errmsg(db);
  }
  static std::string error_of(sqlite3* db, const std::string& sql) {
    return run_sql(db, sql) == SQLITE_OK ? "none" : sqlite3_errmsg(db);
  }
  static bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
  // Everything of `from`, merged into `to`.
  static void carry(sqlite3* from, sqlite3* to) {
    const std::string frame = text_of(from, "SELECT hex(rejoin_changeset(0))");
    must(to, "SELECT rejoin_apply(x'" + frame + "')");
  }
  std::string path;
};

TEST_F(WhereItRuns, WithoutTheExtensionWritesAreCapturedAllTheSame) {
  sqlite3* with = open_with_rejoin(path);
  must(with, kTable);
  sqlite3* without = open_plain(path);
  must(without,
       "INSERT INTO t VALUES('k', 1), ('l', 1); UPDATE t SET v = 2 WHERE id = 'k'; DELETE FROM t WHERE id = 'l'");
  EXPECT_TRUE(has(error_of(without, "SELECT rejoin_seq()"), "no such function"));
  sqlite3* other = open_with_rejoin(":memory:");
  must(other, kTable);
  carry(with, other);
  EXPECT_EQ(text_of(other, "SELECT id, v FROM t"), "k|2");
  for (sqlite3* db : {with, without, other}) EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
}

// Symptom: a row that a merge only tried stayed in the table. SQLite can take nothing back then.
TEST_F(WhereItRuns, WithoutAJournalWhatWritesIsRefused) {
  sqlite3* other = open_with_rejoin(":memory:");
  must(other, std::string(kTable) + "INSERT INTO t VALUES('k', 1)");
  const std::string apply = "SELECT rejoin_apply(x'" + text_of(other, "SELECT hex(rejoin_changeset(0))") + "')";
  for (const std::string& file : {path, std::string(":memory:")}) {
    sqlite3* db = open_with_rejoin(file);
    must(db, std::string(kTable) + "CREATE TABLE more(id TEXT PRIMARY KEY); PRAGMA journal_mode = OFF");
    const std::string before = everything_in(db);
    for (const char* in : {"", "BEGIN;"}) {
      must(db, in);
      for (const std::string& call : {apply, std::string("SELECT rejoin_track('more')"),
                                      std::string("SELECT rejoin_alter('ALTER TABLE t ADD COLUMN w')"),
                                      std::string("SELECT rejoin_untrack('t')")}) {
        const std::string refusal = error_of(db, call);
        EXPECT_TRUE(has(refusal, "PRAGMA journal_mode=OFF") && has(refusal, "[unsupported]")) << call << refusal;
      }
      EXPECT_EQ(everything_in(db), before);
      if (*in) must(db, "COMMIT");
    }
    must(db, "PRAGMA journal_mode = MEMORY");
    must(db, apply);
    EXPECT_EQ(text_of(db, "SELECT rejoin_doctor()"), "[]");
    EXPECT_EQ(text_of(db, "SELECT id, v FROM t"), "k|1");
    EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
    db = open_with_rejoin(":memory:");
    must(db, "CREATE TABLE t(id TEXT PRIMARY KEY); PRAGMA journal_mode = OFF");
    EXPECT_TRUE(has(error_of(db, "SELECT rejoin_track('t')"), "PRAGMA journal_mode=OFF"));
    EXPECT_EQ(text_of(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"), "1");
    EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
  }
  EXPECT_EQ(sqlite3_close(other), SQLITE_OK);
}

// Symptom: "another row available", as each write answers with a row then.
TEST_F(WhereItRuns, WithCountChangesItMerges) {
  sqlite3* other = open_with_rejoin(":memory:");
  must(other, std::string(kTable) + "INSERT INTO t VALUES('k', 1), ('l', 1)");
  sqlite3* db = open_with_rejoin(path);
  must(db, std::string("PRAGMA count_changes = ON;") + kTable);
  carry(other, db);
  must(other, "UPDATE t SET v = 2 WHERE id = 'k'; DELETE FROM t WHERE id = 'l'");
  must(db, "INSERT INTO t VALUES('m', 3); SELECT rejoin_alter('ALTER TABLE t ADD COLUMN w')");
  carry(other, db), carry(db, other);
  EXPECT_EQ(text_of(db, "SELECT id, v FROM t"), "k|2|\nm|3");
  EXPECT_EQ(text_of(db, "SELECT rejoin_doctor()"), "[]");
  for (sqlite3* each : {db, other}) EXPECT_EQ(sqlite3_close(each), SQLITE_OK);
}

TEST_F(WhereItRuns, WhatDropsAnIndexInsideAQueryThatReadsSaysWhatIsInItsWay) {
  sqlite3* db = open_with_rejoin(path);
  must(db, std::string(kTable) + "CREATE INDEX i ON t(v); INSERT INTO t VALUES('k', 1)");
  const std::string error = error_of(db, "SELECT rejoin_alter('DROP INDEX i') FROM t");
  EXPECT_TRUE(has(error, "a statement of this connection is still reading")) << error;
  expect_whole(db, "refused");
  must(db, "SELECT rejoin_alter('DROP INDEX i')");
  EXPECT_EQ(text_of(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'i'"), "0");
  EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
}

TEST_F(WhereItRuns, AReadOnlyDatabaseShowsWhatIsThereAndSaysWhyItCannotWrite) {
  sqlite3* db = open_with_rejoin(path);
  must(db, std::string("PRAGMA journal_mode=DELETE;CREATE TABLE u(id TEXT PRIMARY KEY);") + kTable +
               "INSERT INTO t VALUES('k', 1)");
  must(db, "SELECT rejoin_seq()");  // everything is in the records
  const std::string frame = text_of(db, "SELECT hex(rejoin_changeset(0))");
  sqlite3_close(db);

  db = open_read_only(path);
  EXPECT_EQ(text_of(db, "SELECT count(*) FROM rejoin_changes"), "1");
  EXPECT_EQ(text_of(db, "SELECT hex(rejoin_changeset(0))"), frame);
  EXPECT_EQ(text_of(db, "SELECT rejoin_doctor()"), "[]");
  EXPECT_TRUE(has(text_of(db, "SELECT rejoin_status()"), "\"tables\":[\"t\"]"));
  EXPECT_TRUE(has(text_of(db, "SELECT rejoin_explain('t', 'k')"), "\"alive\":true"));
  for (const std::string& call :
       {"rejoin_apply(x'" + frame + "')", std::string("rejoin_track('u')"), std::string("rejoin_compact()"),
        std::string("rejoin_untrack('t')"), std::string("rejoin_connect('http://localhost:1')")})
    EXPECT_TRUE(has(error_of(db, "SELECT " + call), "[read_only]")) << call << ": " << error_of(db, "SELECT " + call);
  sqlite3_close(db);

  // What was written since has to be folded first.
  db = open_plain(path);
  must(db, "INSERT INTO t VALUES('l', 1)");
  sqlite3_close(db);
  db = open_read_only(path);
  EXPECT_TRUE(has(error_of(db, "SELECT rejoin_changeset(0)"), "[read_only]"));
  EXPECT_EQ(text_of(db, "SELECT count(*) FROM t"), "2");
  EXPECT_EQ(text_of(db, "SELECT count(*) FROM rejoin_changes"), "1");
  sqlite3_close(db);
}

TEST_F(WhereItRuns, ADatabaseInMemoryIsAReplicaLikeAnother) {
  sqlite3 *a = open_with_rejoin(":memory:"), *b = open_with_rejoin("");
  for (sqlite3* db : {a, b}) must(db, kTable);
  must(a, "INSERT INTO t VALUES('k', 1)");
  carry(a, b);
  must(b, "UPDATE t SET v = 2");
  carry(b, a);
  EXPECT_EQ(text_of(a, "SELECT v FROM t"), "2");
  for (sqlite3* db : {a, b}) {
    expect_whole(db, "memory");
    EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
  }
}

TEST_F(WhereItRuns, AnAttachedDatabaseIsCapturedAndTheFunctionsMeanMain) {
  sqlite3* owner = open_with_rejoin(path);
  must(owner, kTable);
  sqlite3* db = open_with_rejoin(":memory:");
  must(db, std::string(kTable) + "ATTACH '" + path +
               "' AS aux; INSERT INTO aux.t VALUES('k', 'attached'); INSERT INTO main.t "
               "VALUES('m', 'main'); CREATE TEMP TABLE t2(id TEXT PRIMARY KEY)");
  EXPECT_TRUE(has(error_of(db, "SELECT rejoin_track('aux.t')"), "[not_found]"));
  EXPECT_TRUE(has(error_of(db, "SELECT rejoin_track('t2')"), "["));
  carry(owner, db);
  EXPECT_EQ(text_of(db, "SELECT id FROM main.t ORDER BY id"), "k|\nm");
  EXPECT_EQ(text_of(db, "SELECT count(*) FROM aux.t"), "1");
  EXPECT_EQ(text_of(owner, "SELECT rejoin_doctor()"), "[]");
  // A table of the same name that hides it by name does not get its rows.
  must(db, "CREATE TEMP TABLE t(id TEXT PRIMARY KEY, v)");
  must(owner, "INSERT INTO t VALUES('n', 1)");
  carry(owner, db);
  EXPECT_EQ(text_of(db, "SELECT count(*) FROM temp.t"), "0");
  EXPECT_EQ(text_of(db, "SELECT count(*) FROM main.t"), "3");
  expect_whole(db, "attached");
  for (sqlite3* each : {db, owner}) EXPECT_EQ(sqlite3_close(each), SQLITE_OK);
}

TEST_F(WhereItRuns, WithoutTrustInTheSchema) {
  sqlite3 *a = open_with_rejoin(path), *b = open_with_rejoin(":memory:");
  for (sqlite3* db : {a, b}) must(db, std::string("PRAGMA trusted_schema=OFF;") + kTable);
  must(a, "INSERT INTO t VALUES('k', 1), ('l', 1); UPDATE t SET v = 2; DELETE FROM t WHERE id = 'l'");
  carry(a, b);
  EXPECT_EQ(text_of(b, "SELECT id, v FROM t"), "k|2");
  // Whatever the setting, a schema cannot make the functions run that write or reach the network.
  for (const char* trust : {"ON", "OFF"}) {
    must(b, std::string("PRAGMA trusted_schema=") + trust +
                "; DROP VIEW IF EXISTS v; CREATE VIEW v AS SELECT "
                "rejoin_untrack('t')");
    EXPECT_TRUE(has(error_of(b, "SELECT * FROM v"), "unsafe use"));
    // What waits may be read by views, as any table.
    must(b, "DROP VIEW IF EXISTS waiting; CREATE VIEW waiting AS SELECT count(*), max(\"values\") FROM rejoin_parked");
    EXPECT_EQ(text_of(b, "SELECT * FROM waiting"), "0|~");
  }
  expect_whole(a, "untrusted");
  for (sqlite3* db : {a, b}) EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
}

TEST_F(WhereItRuns, InsideATransactionOfTheUsers) {
  sqlite3 *a = open_with_rejoin(path), *b = open_with_rejoin(":memory:");
  for (sqlite3* db : {a, b}) must(db, kTable);
  must(b, "INSERT INTO t VALUES('b', 1)");
  const std::string frame = text_of(b, "SELECT hex(rejoin_changeset(0))");
  const std::string before = everything_in(a);
  for (const std::string& call :
       {"rejoin_apply(x'" + frame + "')", std::string("rejoin_compact(0)"), std::string("rejoin_untrack('t')")}) {
    must(a, "BEGIN; INSERT INTO t VALUES('mine', 1); SELECT " + call + "; ROLLBACK");
    EXPECT_EQ(everything_in(a), before) << call;
  }
  must(a, "BEGIN; INSERT INTO t VALUES('mine', 1); SELECT rejoin_apply(x'" + frame + "'); SAVEPOINT s");
  EXPECT_TRUE(has(error_of(a, "SELECT rejoin_changeset(0)"), "[in_transaction]"));
  EXPECT_TRUE(has(error_of(a, "SELECT rejoin_sync()"), "[in_transaction]"));
  EXPECT_EQ(sqlite3_get_autocommit(a), 0);
  must(a, "ROLLBACK TO s; COMMIT");
  EXPECT_EQ(text_of(a, "SELECT group_concat(id) FROM (SELECT id FROM t ORDER BY id)"), "b,mine");
  carry(a, b);
  EXPECT_EQ(text_of(b, "SELECT count(*) FROM t"), "2");
  for (sqlite3* db : {a, b}) {
    expect_whole(db, "transaction");
    EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
  }
}

TEST_F(WhereItRuns, NothingHasToBeFinalizedAtTheEnd) {
  sqlite3* db = open_with_rejoin(path);
  must(db, std::string(kTable) + "INSERT INTO t VALUES('k', 1), ('l', 2)");
  for (const char* call : {"SELECT rejoin_changeset(0)", "SELECT * FROM rejoin_changes", "SELECT rejoin_status()",
                           "SELECT count(*) FROM rejoin_changesets(0, 10)", "SELECT rejoin_explain('t', 'k')"})
    must(db, call);
  EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
}

TEST_F(WhereItRuns, StatementsThatAreStillOpenAtTheClose) {
  for (const char* sql : {"SELECT * FROM rejoin_changes", "SELECT * FROM rejoin_changesets(0, 10)", "SELECT * FROM t",
                          "SELECT rejoin_seq() FROM t"}) {
    std::filesystem::remove(path);
    sqlite3* db = open_with_rejoin(path);
    must(db, std::string(kTable) + "INSERT INTO t VALUES('k', 1), ('l', 2)");
    sqlite3_stmt* open = nullptr;
    ASSERT_EQ(sqlite3_prepare_v2(db, sql, -1, &open, nullptr), SQLITE_OK);
    ASSERT_EQ(sqlite3_step(open), SQLITE_ROW) << sql;
    // As SQLite has it: a close that refuses, and one that waits for the last statement.
    EXPECT_EQ(sqlite3_close(db), SQLITE_BUSY) << sql;
    ASSERT_EQ(sqlite3_step(open), SQLITE_ROW) << sql;
    EXPECT_EQ(sqlite3_close_v2(db), SQLITE_OK);
    sqlite3_step(open);  // may fail: the connection is closed for ours
    sqlite3_finalize(open);
    db = open_with_rejoin(path);
    expect_whole(db, sql);
    EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
  }
}

}  // namespace
}  // namespace rejoin::testing
