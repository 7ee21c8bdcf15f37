// A disk that fails or fills up at any moment: an operation completes or changes nothing, the file stays whole, and the
// next try completes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

#include "tests/support/fault_story.h"
#include "tests/support/faulty_vfs.h"
#include "tests/support/model_run.h"
#include "tests/support/sanitized.h"
#include "tests/support/sync_loopback.h"

namespace rejoin::testing {
namespace {

// Every how many-th operation fails.
int64_t stride() {
  const char* given = std::getenv("REJOIN_FAULT_STRIDE");
  return given ? std::max(1, std::atoi(given)) : kSanitized ? 127 : 17;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

class FileFaultSweep : public ::testing::TestWithParam<size_t> {
 protected:
  FileFaultSweep() : story(fault_stories()[GetParam()]), path(scratch_folder() + "/faults.db") {}

  // The same file each time, its inode too, or it would be taken for a copy.
  void restore() {
    for (const char* beside : {"-wal", "-shm", "-journal"}) std::filesystem::remove(path + beside);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
    for (const auto& [end, bytes] : left) std::ofstream(path + end, std::ios::binary) << bytes;
  }

  // Killed: as a process leaves it that dies in the middle of a transaction.
  void make(bool wal, bool killed = false) {
    left.clear();
    for (const char* beside : {"", "-wal", "-shm", "-journal"}) std::filesystem::remove(path + beside);
    sqlite3* db = open_with_rejoin(path, faulty_vfs());
    ASSERT_TRUE(db);
    ASSERT_EQ(run_sql(db, std::string("PRAGMA journal_mode=") + (wal ? "WAL" : "DELETE") + ";" + story.before),
              SQLITE_OK)
        << sqlite3_errmsg(db);
    before = everything_in(db);
    shown = application_rows(db);
    if (killed) {
      const std::string end = wal ? "-wal" : "-journal";
      ASSERT_EQ(run_sql(db,
                        "PRAGMA cache_size=1; BEGIN; CREATE TABLE half AS WITH RECURSIVE n(i) AS (VALUES(1) UNION "
                        "ALL SELECT i + 1 FROM n WHERE i < 50) SELECT randomblob(1000) FROM n"),
                SQLITE_OK);
      content = read_file(path);
      left[end] = read_file(path + end);
      EXPECT_GT(left[end].size(), 1000u);
      ASSERT_EQ(run_sql(db, "ROLLBACK"), SQLITE_OK);
    }
    ASSERT_EQ(sqlite3_close(db), SQLITE_OK);
    if (!killed) content = read_file(path);
    db = open_with_rejoin(path, faulty_vfs());
    ASSERT_EQ(run_act(db, story), SQLITE_OK) << sqlite3_errmsg(db);
    after = application_rows(db);
    expect_whole(db, story.name);
    sqlite3_close(db);
  }

  // One operation fails, each in its turn.
  void sweep(FileOperations of, FileFault how, int64_t step) {
    static constexpr const char* kHow[] = {"", " and all after", " when it was done"};
    for (int64_t n = 1;; n += step) {
      const std::string where = story.name + (of == FileOperations::contents ? ", operation " : ", file operation ") +
                                std::to_string(n) + kHow[static_cast<size_t>(how)];
      restore();
      sqlite3* db = open_with_rejoin(path, faulty_vfs());
      ASSERT_TRUE(db) << where;
      // A few pages: they are written out in the middle of transactions, too. SQLite recovers a file when it first
      // reads it, for which that would be enough.
      if (left.empty()) run_sql(db, "PRAGMA cache_size=10");
      file_faults().arm(of, how, n);
      const int rc = run_act(db, story);
      const FileFaults met = file_faults();
      const std::string error = sqlite3_errmsg(db);
      file_faults().disarm();
      give_up(db, story);
      // Its own lock that was not given back is to rejoin_seq() like another's who writes: it does not wait to fold.
      const bool busy = met.kept_lock && story.act == "SELECT rejoin_seq()";
      if (rc == SQLITE_OK && !busy) {
        EXPECT_TRUE(is_done(db, story, after)) << where << ": " << difference(application_rows(db), after);
      }
      // Either the same connection goes on, which must not believe what it knew, and another one looks at the file. Or,
      // as the fault stays or has left it in its own way, there is nobody, and the next process finds the journal or
      // the log.
      const bool goes_on = of == FileOperations::files && how != FileFault::for_good && !met.kept_lock;
      if (!goes_on) {
        ASSERT_EQ(sqlite3_close(db), SQLITE_OK) << where;
      }
      sqlite3* next = open_with_rejoin(path, faulty_vfs());
      expect_done_or_unchanged(next, where);
      // Rejoin's own upkeep aside: a fold may be done of a call that then fails.
      if (rc != SQLITE_OK && shown != after && is_done(next, story, after)) {
        EXPECT_EQ(error.find("nothing was changed"), std::string::npos) << where << ": " << error;
      }
      if (goes_on) {
        sqlite3_close(std::exchange(next, db));
        expect_done_or_unchanged(next, where);
      } else {
        expect_whole(next, where);
      }
      EXPECT_EQ(run_act(next, story), SQLITE_OK) << where << ": " << sqlite3_errmsg(next);
      EXPECT_TRUE(is_done(next, story, after)) << where << ": " << difference(application_rows(next), after);
      expect_whole(next, where);
      sqlite3_close(next);
      if (!met.failed || HasFailure()) break;
    }
  }

  // As whoever opens the file finds it. What was not reported as done may be so all the same, with SQLite itself: a
  // commit is done when its journal is gone or its log is whole, and what fails behind that fails the COMMIT too (the
  // journal's folder is not synced, a lock is not given back); and whether a log whose sync failed is whole is seen
  // when it is read again.
  void expect_done_or_unchanged(sqlite3* db, const std::string& where) {
    if (!is_done(db, story, after)) {
      EXPECT_EQ(difference(everything_in(db), before), "") << where;
    }
    EXPECT_EQ(text_of(db, "PRAGMA integrity_check"), "ok") << where;
  }

  const FaultStory& story;
  const std::string path;
  std::string content, before, shown, after;
  std::map<std::string, std::string> left;  // its journal or log
};

// What the sweeps look for: an act of which only a part was done.
TEST_P(FileFaultSweep, NoticesWhatIsHalfDone) {
  make(false);
  restore();
  sqlite3* db = open_with_rejoin(path, faulty_vfs());
  EXPECT_FALSE(is_done(db, story, after));
  EXPECT_EQ(difference(everything_in(db), before), "");
  const bool tracked = text_of(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'rejoin_state'") == "1";
  ASSERT_EQ(run_sql(db, tracked ? "UPDATE rejoin_state SET last = last + 1"
                                : "CREATE TRIGGER half AFTER DELETE ON t BEGIN SELECT 1; END"),
            SQLITE_OK);
  EXPECT_FALSE(is_done(db, story, after));
  EXPECT_NE(difference(everything_in(db), before), "");
  sqlite3_close(db);
}

TEST_P(FileFaultSweep, WithARollbackJournal) {
  make(false);
  sweep(FileOperations::contents, FileFault::once, stride());
  sweep(FileOperations::contents, FileFault::for_good, stride());
}

TEST_P(FileFaultSweep, WithAWriteAheadLog) {
  make(true);
  sweep(FileOperations::contents, FileFault::once, stride());
  sweep(FileOperations::contents, FileFault::for_good, stride());
}

constexpr FileFault kFaults[] = {FileFault::once, FileFault::late, FileFault::for_good};

// Opening, deleting, locking and the like. There are fewer of them.
TEST_P(FileFaultSweep, AroundTheContents) {
  for (bool wal : {false, true}) {
    make(wal);
    for (const FileFault how : kFaults) sweep(FileOperations::files, how, (stride() + 3) / 4);
  }
}

TEST_P(FileFaultSweep, OnAFullDisk) {
  const int64_t more = stride() == 1 ? 4096 : 3 * 4096;
  for (bool wal : {false, true}) {
    make(wal);
    for (int64_t room = 0;; room += more) {
      const std::string where = story.name + ", with room for " + std::to_string(room) + " bytes";
      restore();
      sqlite3* db = open_with_rejoin(path, faulty_vfs());
      ASSERT_TRUE(db);
      file_faults().disarm();
      file_faults().room = room;
      const int rc = run_act(db, story);
      const bool reached = file_faults().failed;
      const std::string error = sqlite3_errmsg(db);
      file_faults().disarm();
      give_up(db, story);
      if (rc == SQLITE_OK) {
        EXPECT_TRUE(is_done(db, story, after)) << where << ": " << difference(application_rows(db), after);
      } else {
        EXPECT_EQ(difference(everything_in(db), before), "") << where;
        if (error.find("rejoin_") == 0) {
          EXPECT_NE(error.find("[disk]"), std::string::npos) << where << ": " << error;
        }
      }
      expect_whole(db, where);
      EXPECT_EQ(run_act(db, story), SQLITE_OK) << where << ": " << sqlite3_errmsg(db);
      EXPECT_TRUE(is_done(db, story, after)) << where << ": " << difference(application_rows(db), after);
      sqlite3_close(db);
      if (!reached || HasFailure()) break;
    }
  }
}

class FileFaultsAfterAKill : public FileFaultSweep {};

// What SQLite recovers from fails, too.
TEST_P(FileFaultsAfterAKill, AroundTheContents) {
  const int64_t step = kSanitized ? stride() / 4 : 1;
  for (bool wal : {false, true}) {
    make(wal, true);
    for (const FileFault how : kFaults) {
      sweep(FileOperations::files, how, step);
      sweep(FileOperations::contents, how, stride());
    }
  }
  if (step > 1) return;
  // It has seen every operation there is fail.
  for (const int code : {SQLITE_CANTOPEN, SQLITE_IOERR_DELETE, SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_ACCESS,
                         SQLITE_IOERR_FSTAT, SQLITE_IOERR_LOCK, SQLITE_IOERR_UNLOCK, SQLITE_IOERR_CHECKRESERVEDLOCK,
                         SQLITE_IOERR_SHMMAP, SQLITE_IOERR_SHMLOCK, SQLITE_IOERR_FSYNC, SQLITE_IOERR})
    EXPECT_EQ(file_errors_given().count(code), 1u) << code % 256 << ", " << code / 256;
}

class FileFaultsOfAFold : public FileFaultSweep {};

// Symptom: rejoin_seq() answered as if it had folded when its journal could not be opened.
TEST_P(FileFaultsOfAFold, AreToldWhereTheJournalCannotBeOpened) {
  make(false);
  sweep(FileOperations::files, FileFault::once, 1);
}

INSTANTIATE_TEST_SUITE_P(Stories, FileFaultsOfAFold, ::testing::Values(size_t{2}));
INSTANTIATE_TEST_SUITE_P(Merges, FileFaultsAfterAKill, ::testing::Values(size_t{0}));
INSTANTIATE_TEST_SUITE_P(Stories, FileFaultSweep, ::testing::Range(size_t{0}, kFaultStories));

}  // namespace
}  // namespace rejoin::testing
