// Two threads, each with a connection of its own to one file: one writes and merges, the other makes changesets, alters
// the table, compacts and looks. Nothing is lost, nothing is refused, and every replica ends with the same rows.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <thread>

#include "tests/support/fault_story.h"
#include "tests/support/model_run.h"
#include "tests/support/sanitized.h"

namespace rejoin::testing {
namespace {

constexpr int kRounds = kSanitized ? 10 : 25;
constexpr const char* kTables =
    "CREATE TABLE t(id TEXT PRIMARY KEY, v, w); CREATE TABLE u(id TEXT PRIMARY KEY, mail TEXT UNIQUE);"
    "SELECT rejoin_track('t'), rejoin_track('u');";

using Pages = std::vector<Bytes>;

void must(sqlite3* db, const std::string& sql) {
  EXPECT_EQ(run_sql(db, sql), SQLITE_OK) << sql << ": " << sqlite3_errmsg(db);
}

sqlite3* open_patient(const std::string& path) {
  sqlite3* db = open_with_rejoin(path);
  sqlite3_busy_timeout(db, 120'000);
  must(db, "PRAGMA synchronous=OFF");
  return db;
}

// A statement that reads tables itself cannot wait for another connection: SQLite gives SQLITE_BUSY at once.
void must_at_last(sqlite3* db, const std::string& sql) {
  int rc = SQLITE_OK;
  while ((rc = run_sql(db, sql)) == SQLITE_BUSY) std::this_thread::yield();
  EXPECT_EQ(rc, SQLITE_OK) << sql << ": " << sqlite3_errmsg(db);
}

// Everything after `since`, which moves along. False: busy, nothing was taken.
bool try_pages(sqlite3* db, int64_t& since, Pages& pages) {
  sqlite3_stmt* s = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(db, "SELECT changeset, through FROM rejoin_changesets(?1, 4096)", -1, &s, nullptr),
            SQLITE_OK)
      << sqlite3_errmsg(db);
  sqlite3_bind_int64(s, 1, since);
  int rc = SQLITE_OK;
  int64_t reached = since;
  Pages news;
  while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
    news.emplace_back(static_cast<const char*>(sqlite3_column_blob(s, 0)),
                      static_cast<size_t>(sqlite3_column_bytes(s, 0)));
    if (const int64_t through = sqlite3_column_int64(s, 1)) reached = through;
  }
  EXPECT_TRUE(rc == SQLITE_DONE || rc == SQLITE_BUSY) << sqlite3_errmsg(db);
  sqlite3_finalize(s);
  if (rc == SQLITE_BUSY) return false;
  since = reached;
  pages.insert(pages.end(), news.begin(), news.end());
  return true;
}

void take_pages(sqlite3* db, int64_t& since, Pages& pages) {
  while (!try_pages(db, since, pages)) std::this_thread::yield();
}

void merge_pages(sqlite3* db, const Pages& pages) {
  sqlite3_stmt* s = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(db, "SELECT rejoin_apply(?1)", -1, &s, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  for (const Bytes& page : pages) {
    sqlite3_bind_blob64(s, 1, page.data(), page.size(), SQLITE_STATIC);
    EXPECT_EQ(sqlite3_step(s), SQLITE_ROW) << sqlite3_errmsg(db);
    sqlite3_reset(s);
  }
  sqlite3_finalize(s);
}

// What the file's own writer knows of its rows.
struct Written {
  std::map<std::string, std::string> here;       // id, v
  std::map<std::string, std::string> elsewhere;  // likewise, of the replica whose changes it merges
};

void write_and_merge(sqlite3* db, Written& written) {
  sqlite3* other = open_with_rejoin(":memory:");
  must(other, kTables);
  int64_t since = 0;
  for (int i = 0; i < kRounds; ++i) {
    const std::string n = std::to_string(i), v = "v" + n;
    must(db, "BEGIN IMMEDIATE; INSERT INTO t(id, v) VALUES('a" + n + "', '" + v + "'), ('gone" + n +
                 "', 1); UPDATE t SET v = 'later" + n + "' WHERE id = 'a" + std::to_string(i / 2) +
                 "'; DELETE FROM t WHERE id = 'gone" + n + "'; COMMIT");
    written.here["a" + n] = v;
    written.here["a" + std::to_string(i / 2)] = "later" + n;
    must(db, "INSERT INTO u VALUES('a" + n + "', 'mail" + n + "')");
    // Both have some of the mails.
    must(other, "INSERT INTO t(id, v, w) VALUES('b" + n + "', '" + v + "', zeroblob(100)); INSERT INTO u VALUES('b" +
                    n + "', '" + (i % 2 ? "own" + n : "mail" + std::to_string(i / 2)) + "')");
    written.elsewhere["b" + n] = v;
    Pages pages;
    take_pages(other, since, pages);
    merge_pages(db, pages);
  }
  EXPECT_EQ(sqlite3_close(other), SQLITE_OK);
}

// Every kind of thing that is not a write of the application's, one after the other.
void look_after(sqlite3* db, const std::atomic<bool>& writing, int64_t& since, Pages& pages) {
  for (int i = 0; writing || i < 12; ++i) {
    switch (i % 12) {
      case 0:
        must(db, "SELECT rejoin_alter('ALTER TABLE t ADD COLUMN extra DEFAULT 7')");
        break;
      case 2:
        must(db, "SELECT rejoin_alter('CREATE INDEX t_extra ON t(extra)')");
        break;
      case 3:
        must(db, "SELECT rejoin_alter('ALTER TABLE t RENAME COLUMN w TO x')");
        break;
      case 4:
        must(db, "SELECT rejoin_compact()");
        break;
      case 5:
        must(db, "SELECT rejoin_alter('DROP INDEX t_extra')");
        break;
      case 6:
        must(db, "SELECT rejoin_alter('ALTER TABLE t DROP COLUMN extra')");
        break;
      case 7:
        must(db, "SELECT count(*), max(time) FROM rejoin_changes");
        break;
      case 8:
        must(db, "SELECT rejoin_alter('ALTER TABLE t RENAME COLUMN x TO w')");
        break;
      case 9:
        must(db,
             "SELECT rejoin_alter_begin('t'); ALTER TABLE t ADD COLUMN brief; ALTER TABLE t DROP COLUMN brief;"
             "SELECT rejoin_alter_commit('t')");
        break;
      case 10:
        must_at_last(
            db, "SELECT key, \"values\" FROM rejoin_parked; SELECT rejoin_explain('t', id) FROM t WHERE id = 'a0'");
        break;
      default:
        take_pages(db, since, pages);
        break;
    }
  }
}

class TwoThreads : public ::testing::TestWithParam<const char*> {};

TEST_P(TwoThreads, OnOneFileLoseNothing) {
  const std::string path = scratch_folder() + "/two_threads.db";
  for (const char* beside : {"", "-wal", "-shm", "-journal"}) std::filesystem::remove(path + beside);
  sqlite3 *writer = open_patient(path), *keeper = open_patient(path);
  must(writer, std::string("PRAGMA journal_mode=") + GetParam() + ";" + kTables);

  Written written;
  Pages pages;
  int64_t since = 0;
  std::atomic<bool> writing{true};
  std::thread other([&] { look_after(keeper, writing, since, pages); });
  write_and_merge(writer, written);
  writing = false;
  other.join();

  // To the end of its round: the columns that were there at first.
  if (text_of(keeper, "SELECT name FROM pragma_table_info('t') WHERE name = 'x'") == "x")
    must(keeper, "SELECT rejoin_alter('ALTER TABLE t RENAME COLUMN x TO w')");
  if (text_of(keeper, "SELECT name FROM sqlite_schema WHERE name = 't_extra'") == "t_extra")
    must(keeper, "SELECT rejoin_alter('DROP INDEX t_extra')");
  if (text_of(keeper, "SELECT name FROM pragma_table_info('t') WHERE name = 'extra'") == "extra")
    must(keeper, "SELECT rejoin_alter('ALTER TABLE t DROP COLUMN extra')");
  take_pages(keeper, since, pages);
  for (sqlite3* db : {writer, keeper}) expect_whole(db, GetParam());

  for (const auto* of : {&written.here, &written.elsewhere})
    for (const auto& [id, v] : *of) EXPECT_EQ(text_of(writer, "SELECT v FROM t WHERE id = '" + id + "'"), v) << id;
  EXPECT_EQ(text_of(writer, "SELECT count(*) FROM t"), std::to_string(2 * kRounds));
  EXPECT_EQ(text_of(writer, "SELECT (SELECT count(*) FROM u) + (SELECT count(*) FROM rejoin_parked)"),
            std::to_string(2 * kRounds));

  // Who got the pages as they were made, and who gets all of it at once.
  const std::string rows = "SELECT group_concat(quote(id) || quote(v) || quote(w)) FROM (SELECT * FROM t ORDER BY id)",
                    mails = "SELECT group_concat(quote(id) || quote(mail)) FROM (SELECT * FROM u ORDER BY id)",
                    waiting =
                        "SELECT group_concat(key || \"values\") FROM (SELECT * FROM rejoin_parked WHERE table_name = "
                        "'u' ORDER BY key)";
  Pages whole;
  int64_t from = 0;
  take_pages(writer, from, whole);
  for (const Pages* each : {&pages, &whole}) {
    sqlite3* replica = open_with_rejoin(":memory:");
    must(replica, kTables);
    merge_pages(replica, *each);
    for (const std::string& query : {rows, mails, waiting}) EXPECT_EQ(text_of(replica, query), text_of(writer, query));
    expect_whole(replica, GetParam());
    EXPECT_EQ(sqlite3_close(replica), SQLITE_OK);
  }
  for (sqlite3* db : {writer, keeper}) EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
}

INSTANTIATE_TEST_SUITE_P(Journals, TwoThreads, ::testing::Values("WAL", "DELETE"));

}  // namespace
}  // namespace rejoin::testing
