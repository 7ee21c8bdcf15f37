// sqlite3_interrupt() at any moment of a call, which stays in force until the call's own statement ends: the call
// completes, or nothing has changed and no transaction is left open. Inside a transaction of the application's SQLite
// takes all of that back.
//
//   REJOIN_FAULT_STRIDE=n    every n-th moment (else about five of each kind, two where it is sanitized, spread evenly)
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <vector>

#include "tests/support/fault_story.h"
#include "tests/support/sanitized.h"

namespace rejoin::testing {
namespace {

// SQLite asks at each step of each program, and for each thing that a statement it compiles may touch.
enum class Moment { step, compilation };
enum class How { interrupt, once };  // once: a progress handler that stops just the statement that runs
enum class Where { by_itself, in_a_transaction, in_a_savepoint };

struct Interruption {
  sqlite3* db = nullptr;
  Moment moment = Moment::step;
  How how = How::interrupt;
  int64_t at = 0, seen = 0;

  int happens() {
    if (++seen != at) return 0;
    if (how == How::once) return 1;
    sqlite3_interrupt(db);
    return 0;
  }
  void arm() {
    if (moment == Moment::step)
      sqlite3_progress_handler(
          db, 1, [](void* p) { return static_cast<Interruption*>(p)->happens(); }, this);
    else
      sqlite3_set_authorizer(
          db,
          [](void* p, int, const char*, const char*, const char*, const char*) {
            static_cast<Interruption*>(p)->happens();
            return SQLITE_OK;
          },
          this);
  }
  void disarm() {
    sqlite3_progress_handler(db, 0, nullptr, nullptr);
    sqlite3_set_authorizer(db, nullptr, nullptr);
  }
};

// The triggers write to synced tables, which a merge leaves out by triggers of its own; titles are taken, and a parent
// is gone.
constexpr const char* kRelated =
    "CREATE TABLE p(id TEXT PRIMARY KEY, u TEXT UNIQUE);"
    "CREATE TABLE c(id TEXT PRIMARY KEY, p TEXT REFERENCES p ON DELETE SET NULL, n INTEGER);"
    "CREATE TABLE counted(n); INSERT INTO counted VALUES(0);"
    "CREATE TRIGGER c_in AFTER INSERT ON c BEGIN UPDATE counted SET n = n + 1; UPDATE p SET u = u || '!' WHERE id = "
    "NEW.p; END; CREATE TRIGGER c_out AFTER DELETE ON c BEGIN UPDATE counted SET n = n - 1; END;"
    "CREATE TRIGGER c_guard BEFORE INSERT ON c WHEN NEW.n = 7 BEGIN UPDATE counted SET n = n + 100; SELECT "
    "RAISE(FAIL, 'seven'); END; SELECT rejoin_track('p'), rejoin_track('c');";

std::vector<FaultStory> related_stories() {
  const std::string rows = std::string(kRelated) + "INSERT INTO p VALUES('p0', 'a'), ('p1', 'b');";
  sqlite3* other = open_with_rejoin(":memory:");
  EXPECT_EQ(run_sql(other, rows + "DROP TRIGGER c_guard; DELETE FROM p WHERE id = 'p0'; INSERT INTO p VALUES('p2', "
                                  "'taken'), ('p3', 'd'); INSERT INTO c VALUES('c2', 'p3', 1), ('c3', NULL, 7)"),
            SQLITE_OK);
  sqlite3_stmt* s = nullptr;
  sqlite3_prepare_v2(other, "SELECT rejoin_changeset(0)", -1, &s, nullptr);
  EXPECT_EQ(sqlite3_step(s), SQLITE_ROW);
  const Bytes frame(static_cast<const char*>(sqlite3_column_blob(s, 0)),
                    static_cast<size_t>(sqlite3_column_bytes(s, 0)));
  sqlite3_finalize(s);
  sqlite3_close(other);
  const std::string here = rows + "INSERT INTO p VALUES('p9', 'taken'); INSERT INTO c VALUES('c9', 'p0', 3);";
  const std::string gone = here + "DELETE FROM c; SELECT rejoin_seq();";
  return {{"apply beside triggers", here, "SELECT rejoin_apply(?1)", frame},
          {"restore", gone, "SELECT rejoin_restore('c', 'c9')", {}},
          {"untrack",
           here,
           "SELECT rejoin_untrack('c')",
           {},
           "SELECT 1 FROM rejoin_table WHERE name = 'c'",
           "SELECT count(*) = 0 FROM sqlite_schema WHERE name GLOB 'c__rejoin*'"}};
}

const std::vector<FaultStory>& stories() {
  static const std::vector<FaultStory> all = [] {
    std::vector<FaultStory> out = fault_stories();
    for (FaultStory& s : related_stories()) out.push_back(std::move(s));
    return out;
  }();
  return all;
}

std::string temporary(sqlite3* db) { return text_of(db, "SELECT group_concat(name) FROM sqlite_temp_schema"); }

class InterruptedCalls : public ::testing::TestWithParam<size_t> {
 protected:
  InterruptedCalls() : story(stories()[GetParam()]) {
    sqlite3* db = open_with_rejoin(":memory:");
    EXPECT_EQ(run_sql(db, "PRAGMA foreign_keys = ON; CREATE TABLE mine(v);" + story.before), SQLITE_OK)
        << sqlite3_errmsg(db);
    sqlite3_int64 size = 0;
    unsigned char* image = sqlite3_serialize(db, "main", &size, 0);
    content.assign(reinterpret_cast<char*>(image), static_cast<size_t>(size));
    sqlite3_free(image);
    sqlite3_close(db);
  }

  sqlite3* fresh() {
    sqlite3* db = open_with_rejoin(":memory:");
    fill_with(db, content);
    EXPECT_EQ(run_sql(db, "PRAGMA foreign_keys = ON"), SQLITE_OK);
    return db;
  }

  static std::string opening(Where where) {
    if (where == Where::by_itself) return "";
    return std::string(where == Where::in_a_savepoint ? "SAVEPOINT app" : "BEGIN") + "; INSERT INTO mine VALUES(1)";
  }

  // Interrupted at its n-th moment. False: that is behind its end.
  bool interrupted(Interruption by, Where where) {
    sqlite3* db = by.db = fresh();
    const std::string before = everything_in(db);
    EXPECT_EQ(run_sql(db, opening(where)), SQLITE_OK);
    const std::string begun = everything_in(db);
    by.arm();
    const int rc = run_act(db, story);
    by.disarm();
    const std::string message = sqlite3_errmsg(db);
    const bool reached = by.seen >= by.at;
    give_up(db, story);
    const bool open = !sqlite3_get_autocommit(db);
    const std::string at = story.name + ", " + std::to_string(by.at) +
                           (by.moment == Moment::step ? " steps" : " names") +
                           (where == Where::by_itself ? "" : " inside a transaction") + ": " + message;
    EXPECT_EQ(temporary(db), "~") << at;
    EXPECT_EQ(text_of(db, "PRAGMA foreign_keys"), "1") << at;
    if (open && rc == SQLITE_OK) {
      EXPECT_EQ(run_sql(db, where == Where::in_a_savepoint ? "RELEASE app" : "COMMIT"), SQLITE_OK) << at;
    } else if (open) {
      EXPECT_NE(where, Where::by_itself) << at;
      // It goes on as it was. The statement may have been stopped after its call was done.
      EXPECT_TRUE(everything_in(db) == begun || application_rows(db) == after(where)) << at;
      EXPECT_EQ(run_sql(db, "ROLLBACK"), SQLITE_OK) << at;
    }
    const bool done = rc == SQLITE_OK || everything_in(db) != before;
    if (done && where == Where::by_itself) {
      EXPECT_TRUE(is_done(db, story, after(where))) << at;
    } else if (done) {
      EXPECT_EQ(application_rows(db), after(where)) << at;
    }
    expect_whole(db, at);
    if (!done) {
      EXPECT_EQ(run_act(db, story), SQLITE_OK) << at << "; then " << sqlite3_errmsg(db);
      EXPECT_TRUE(is_done(db, story, after(Where::by_itself))) << at;
    }
    EXPECT_EQ(sqlite3_close(db), SQLITE_OK) << at;
    return reached;
  }

  const std::string& after(Where where) {
    std::string& out = afters[where == Where::by_itself ? 0 : 1];
    if (!out.empty()) return out;
    sqlite3* db = fresh();
    EXPECT_EQ(run_sql(db, opening(where)), SQLITE_OK);
    EXPECT_EQ(run_act(db, story), SQLITE_OK) << sqlite3_errmsg(db);
    if (where != Where::by_itself) {
      EXPECT_EQ(run_sql(db, "COMMIT"), SQLITE_OK);
    }
    out = application_rows(db);
    sqlite3_close(db);
    return out;
  }

  void sweep(Moment moment, How how, Where where) {
    Interruption counting{.moment = moment, .at = std::numeric_limits<int64_t>::max()};
    counting.db = fresh();
    EXPECT_EQ(run_sql(counting.db, opening(where)), SQLITE_OK);
    counting.arm();
    EXPECT_EQ(run_act(counting.db, story), SQLITE_OK) << sqlite3_errmsg(counting.db);
    counting.disarm();
    sqlite3_close(counting.db);
    const char* given = std::getenv("REJOIN_FAULT_STRIDE");
    const int64_t stride =
        given ? std::max(1, std::atoi(given)) : std::max<int64_t>(1, counting.seen / (kSanitized ? 2 : 5));
    int64_t reached = 0;
    for (int64_t n = 1; n <= counting.seen && !HasFailure(); n += stride)
      reached += interrupted({.moment = moment, .how = how, .at = n}, where);
    EXPECT_GT(reached, 0) << story.name;
  }

  const FaultStory& story;
  std::string content, afters[2];
};

TEST_P(InterruptedCalls, AreDoneOrHaveChangedNothing) {
  sweep(Moment::step, How::interrupt, Where::by_itself);
  sweep(Moment::compilation, How::interrupt, Where::by_itself);
}

TEST_P(InterruptedCalls, StoppedByAProgressHandlerAreDoneOrHaveChangedNothing) {
  sweep(Moment::step, How::once, Where::by_itself);
}

class InterruptedCallsInside : public InterruptedCalls {};

TEST_P(InterruptedCallsInside, TakeATransactionOfTheApplicationsBackAsAWhole) {
  sweep(Moment::step, How::interrupt, Where::in_a_transaction);
  sweep(Moment::compilation, How::interrupt, Where::in_a_savepoint);
}

// The others begin a transaction, or are refused in one.
std::vector<size_t> work_inside() {
  std::vector<size_t> out;
  for (size_t i = 0; i < stories().size(); ++i) {
    const auto has = [&](const char* part) { return stories()[i].act.find(part) != std::string::npos; };
    if (!has("rejoin_alter_begin") && !has("changeset") && !has("compact") && !has("rejoin_sync")) out.push_back(i);
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Stories, InterruptedCalls, ::testing::Range(size_t{0}, kFaultStories + 3));
INSTANTIATE_TEST_SUITE_P(Stories, InterruptedCallsInside, ::testing::ValuesIn(work_inside()));

// Symptom: the page cache of a large merge stayed as large.
TEST(AnInterruptedLargeMerge, GivesItsCacheBack) {
  constexpr const char* kTable = "CREATE TABLE t(id TEXT PRIMARY KEY); SELECT rejoin_track('t');";
  sqlite3* from = open_with_rejoin(":memory:");
  ASSERT_EQ(run_sql(from, std::string(kTable) + "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n LIMIT "
                                                "33000) INSERT INTO t SELECT i FROM n"),
            SQLITE_OK);
  const std::string act = "SELECT rejoin_apply(x'" + text_of(from, "SELECT hex(rejoin_changeset(0))") + "')";
  sqlite3* db = open_with_rejoin(":memory:");
  ASSERT_EQ(run_sql(db, std::string(kTable) + "PRAGMA cache_size = -1234"), SQLITE_OK);
  Interruption by{.db = db, .at = 100'000};
  by.arm();
  EXPECT_EQ(run_sql(db, act), SQLITE_INTERRUPT);
  by.disarm();
  EXPECT_EQ(text_of(db, "PRAGMA cache_size"), "-1234");
  EXPECT_EQ(text_of(db, "SELECT count(*) FROM t"), "0");
  expect_whole(db, "a large merge");
  sqlite3_close(from), sqlite3_close(db);
}

// What the caller is told, and SQLite's own code for it.
TEST(AnInterruptedCall, SaysWhatBecameOfTheTransaction) {
  const FaultStory& story = stories()[0];
  sqlite3* db = open_with_rejoin(":memory:");
  ASSERT_EQ(run_sql(db, "CREATE TABLE mine(v);" + story.before + "BEGIN; INSERT INTO mine VALUES(1)"), SQLITE_OK);
  Interruption by{.db = db, .at = 2000};
  by.arm();
  EXPECT_EQ(run_act(db, story), SQLITE_INTERRUPT);
  by.disarm();
  const std::string message = sqlite3_errmsg(db);
  EXPECT_NE(message.find("was rolled back as a whole, also one of yours [interrupted]"), std::string::npos) << message;
  EXPECT_EQ(text_of(db, "SELECT count(*) FROM mine"), "0");
  expect_whole(db, "interrupted");
  sqlite3_close(db);
}

}  // namespace
}  // namespace rejoin::testing
