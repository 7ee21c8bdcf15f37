// A disk that fails or fills up at any moment: an operation completes or changes nothing, the file stays whole, and the
// next try completes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

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
  return given ? std::max(1, std::atoi(given)) : kSanitized ? 127 : 11;
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
  }

  void make(bool wal) {
    for (const char* beside : {"", "-wal", "-shm", "-journal"}) std::filesystem::remove(path + beside);
    sqlite3* db = open_with_rejoin(path, faulty_vfs());
    ASSERT_TRUE(db);
    ASSERT_EQ(run_sql(db, std::string("PRAGMA journal_mode=") + (wal ? "WAL" : "DELETE") + ";" + story.before),
              SQLITE_OK)
        << sqlite3_errmsg(db);
    before = everything_in(db);
    ASSERT_EQ(sqlite3_close(db), SQLITE_OK);
    content = read_file(path);
    db = open_with_rejoin(path, faulty_vfs());
    ASSERT_EQ(run_act(db, story), SQLITE_OK) << sqlite3_errmsg(db);
    after = application_rows(db);
    expect_whole(db, story.name);
    sqlite3_close(db);
  }

  void sweep(bool for_good) {
    for (int64_t n = 1;; n += stride()) {
      const std::string where = story.name + ", operation " + std::to_string(n) + (for_good ? " and all after" : "");
      restore();
      sqlite3* db = open_with_rejoin(path, faulty_vfs());
      ASSERT_TRUE(db) << where;
      // A few pages: they are written out in the middle of transactions, too.
      run_sql(db, "PRAGMA cache_size=10");
      file_faults().arm(n, for_good);
      const int rc = run_act(db, story);
      const bool reached = file_faults().failed;
      file_faults().disarm();
      give_up(db, story);
      if (rc == SQLITE_OK) {
        EXPECT_TRUE(is_done(db, story, after)) << where << ": " << difference(application_rows(db), after);
      }
      // As the next process finds it. What was not reported as done may still be: a commit whose end could not be
      // written.
      ASSERT_EQ(sqlite3_close(db), SQLITE_OK) << where;
      db = open_with_rejoin(path, faulty_vfs());
      if (!is_done(db, story, after)) {
        EXPECT_EQ(difference(everything_in(db), before), "") << where;
      }
      expect_whole(db, where);
      EXPECT_EQ(run_act(db, story), SQLITE_OK) << where << ": " << sqlite3_errmsg(db);
      EXPECT_TRUE(is_done(db, story, after)) << where << ": " << difference(application_rows(db), after);
      expect_whole(db, where);
      sqlite3_close(db);
      if (!reached || HasFailure()) break;
    }
  }

  const FaultStory& story;
  const std::string path;
  std::string content, before, after;
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
  sweep(false);
  sweep(true);
}

TEST_P(FileFaultSweep, WithAWriteAheadLog) {
  make(true);
  sweep(false);
  sweep(true);
}

TEST_P(FileFaultSweep, OnAFullDisk) {
  for (bool wal : {false, true}) {
    make(wal);
    for (int64_t room = 0;; room += 4096) {
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

INSTANTIATE_TEST_SUITE_P(Stories, FileFaultSweep, ::testing::Range(size_t{0}, kFaultStories));

}  // namespace
}  // namespace rejoin::testing
