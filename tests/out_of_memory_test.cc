// Allocations fail, SQLite's and C++'s: an operation completes or changes nothing, and the next try completes. An
// allocation is known by the calls that led to it; what has the same path fails in the same way.
//
//   REJOIN_FAULT_PATHS=all   the first and the last allocation of every path (else at most 25, spread evenly)
//   REJOIN_FAULT_STRIDE=n    every n-th allocation
#include <execinfo.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sqlite/functions.h"
#include "sqlite/replica.h"
#include "tests/support/fault_story.h"
#include "tests/support/sanitized.h"
#include "tests/support/sync_loopback.h"

namespace {

struct Memory {
  int64_t allocations = 0;
  int64_t fail_at = 0;
  bool for_good = false;
  bool failed = false;
  std::vector<uint64_t>* paths = nullptr;  // of each allocation, when asked for
  bool fails() {
    if (fail_at == 0) return false;
    ++allocations;
    if (paths) {
      std::vector<uint64_t>* const into = std::exchange(paths, nullptr);  // which allocates
      into->push_back(path());
      paths = into;
    }
    const bool now = for_good ? allocations >= fail_at : allocations == fail_at;
    failed |= now;
    return now;
  }

 private:
  static uint64_t path() {
    void* calls[64];
    const int depth = backtrace(calls, 64);
    uint64_t hash = 0xcbf29ce484222325;
    for (int i = 1; i < depth; ++i) hash = (hash ^ reinterpret_cast<uintptr_t>(calls[i])) * 0x100000001b3;
    return hash;
  }
};
Memory sqlites, ours;

void* allocate(size_t bytes) {
  if (ours.fails()) throw std::bad_alloc();
  if (void* p = std::malloc(bytes ? bytes : 1)) return p;
  throw std::bad_alloc();
}

sqlite3_mem_methods plain;

// Before anything opens a database.
const bool configured = [] {
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain);
  sqlite3_mem_methods counted = plain;
  counted.xMalloc = [](int bytes) { return sqlites.fails() ? nullptr : plain.xMalloc(bytes); };
  counted.xRealloc = [](void* p, int bytes) { return sqlites.fails() ? nullptr : plain.xRealloc(p, bytes); };
  return sqlite3_config(SQLITE_CONFIG_MALLOC, &counted) == SQLITE_OK;
}();

}  // namespace

void* operator new(size_t bytes) { return allocate(bytes); }
void* operator new[](size_t bytes) { return allocate(bytes); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return ours.fails() ? nullptr : std::malloc(bytes ? bytes : 1);
}
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept {
  return ours.fails() ? nullptr : std::malloc(bytes ? bytes : 1);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }

namespace rejoin::testing {
namespace {

bool by_path() { return std::getenv("REJOIN_FAULT_PATHS") != nullptr; }

// Which allocations fail, counted from 1: of so many, or of those with these paths.
std::vector<int64_t> chosen(int64_t count, const std::vector<uint64_t>& paths) {
  std::vector<int64_t> out;
  if (by_path()) {
    std::unordered_map<uint64_t, int64_t> last;
    for (int64_t n = 1; n <= count; ++n)
      if (!std::exchange(last[paths[static_cast<size_t>(n - 1)]], n)) out.push_back(n);
    for (const auto& [path, n] : last) out.push_back(n);
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
  }
  const char* given = std::getenv("REJOIN_FAULT_STRIDE");
  const int64_t step = given ? std::max(1, std::atoi(given)) : std::max<int64_t>(97, count / (kSanitized ? 10 : 25));
  for (int64_t n = 1; n <= count; n += step) out.push_back(n);
  return out;
}

class OutOfMemory : public ::testing::TestWithParam<size_t> {
 protected:
  OutOfMemory() : story(fault_stories()[GetParam()]) {
    EXPECT_TRUE(configured);
    sqlite3* db = open_with_rejoin(":memory:");
    EXPECT_EQ(run_sql(db, story.before), SQLITE_OK) << sqlite3_errmsg(db);
    before = everything_in(db);
    sqlite3_int64 size = 0;
    unsigned char* image = sqlite3_serialize(db, "main", &size, 0);
    content.assign(reinterpret_cast<char*>(image), static_cast<size_t>(size));
    sqlite3_free(image);
    EXPECT_EQ(run_act(db, story), SQLITE_OK) << sqlite3_errmsg(db);
    after = application_rows(db);
    expect_whole(db, story.name);
    sqlite3_close(db);
  }

  sqlite3* fresh() {
    sqlite3* db = nullptr;
    if (in_library) {
      EXPECT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
      replica = std::make_unique<sqlite::Replica>(db);
      EXPECT_TRUE(sqlite::register_functions(db, *replica).ok());
    } else {
      db = open_with_rejoin(":memory:");
    }
    fill_with(db, content);
    return db;
  }

  std::vector<int64_t> which_fail(Memory& memory) {
    sqlite3* db = fresh();
    std::vector<uint64_t> paths;
    Memory counting{.fail_at = std::numeric_limits<int64_t>::max()};
    if (by_path()) counting.paths = &paths;
    EXPECT_EQ(act(db, memory, counting), SQLITE_OK);
    const int64_t count = by_path() ? static_cast<int64_t>(paths.size()) : memory.allocations;
    memory = {};
    replica.reset();
    sqlite3_close(db);
    std::vector<int64_t> out = chosen(count, paths);
    RecordProperty("allocations", std::to_string(count));
    RecordProperty("failed", std::to_string(out.size()));
    return out;
  }

  // Through SQL, or by the library's own call, which no statement is around.
  int act(sqlite3* db, Memory& memory, const Memory& armed) {
    if (!in_library) {
      memory = armed;
      return run_act(db, story);
    }
    memory = armed;
    const bool done = replica->apply(story.frame).ok();
    return done ? SQLITE_OK : SQLITE_ERROR;
  }

  // `rc`: how it ended when memory was lacking, which it is no more.
  void expect_all_or_nothing(sqlite3* db, int rc, const std::string& where) {
    give_up(db, story);
    const bool done = is_done(db, story, after);
    EXPECT_TRUE(done || rc != SQLITE_OK) << where << ": " << difference(application_rows(db), after);
    if (!done) {
      EXPECT_EQ(difference(everything_in(db), before), "") << where;
    }
    expect_whole(db, where);
    EXPECT_EQ(run_act(db, story), SQLITE_OK) << where << ": " << sqlite3_errmsg(db);
    EXPECT_TRUE(is_done(db, story, after)) << where << ": " << difference(application_rows(db), after);
    expect_whole(db, where);
  }

  void sweep(Memory& memory, bool for_good, const char* whose) {
    std::vector<int64_t> all = which_fail(memory);
    all.push_back(std::numeric_limits<int64_t>::max() - 1);  // none
    size_t missed = 0;
    for (const int64_t n : all) {
      const std::string where =
          story.name + ", allocation " + std::to_string(n) + whose + (for_good ? " and all after" : "");
      sqlite3* db = fresh();
      const int rc = act(db, memory, {.fail_at = n, .for_good = for_good});
      const bool reached = memory.failed;
      memory = {};
      expect_all_or_nothing(db, rc, where);
      replica.reset();
      EXPECT_EQ(sqlite3_close(db), SQLITE_OK) << where;
      if (HasFailure()) break;
      EXPECT_FALSE(reached && n == all.back()) << where;
      missed += !reached && n != all.back();
    }
    // One or the other is not there in each run: times and random numbers have other sizes.
    EXPECT_LE(missed, 1 + all.size() / 100) << story.name;
  }

  const FaultStory& story;
  bool in_library = false;
  std::unique_ptr<sqlite::Replica> replica;  // there
  std::string content, before, after;
};

class OutOfOurMemory : public OutOfMemory {};
class OutOfMemoryInTheLibrary : public OutOfMemory {
 protected:
  OutOfMemoryInTheLibrary() { in_library = true; }
};

// Memory that is lacking while a table is looked for is no answer: SQLite has rolled the transaction back for it, and
// what followed was written without one.
class OutOfMemoryAtALook : public OutOfMemory {
 protected:
  struct Look {
    int which = 0;  // of the looks, from 1
    int64_t nth = 0;
    int seen = 0;
    bool inside = false;
  };
  static int on_statement(unsigned, void* context, void* statement, void*) {
    auto& look = *static_cast<Look*>(context);
    const char* sql = sqlite3_sql(static_cast<sqlite3_stmt*>(statement));
    if (!sql || std::string_view(sql).substr(0, 6) == "PRAGMA") return 0;  // a part of the other
    if (std::exchange(look.inside, false)) sqlites.fail_at = 0;
    if (std::string_view(sql).find("pragma_table_list") == std::string_view::npos) return 0;
    if (++look.seen != look.which) return 0;
    look.inside = true;
    sqlites = {.fail_at = look.nth};
    return 0;
  }
};

TEST_P(OutOfMemoryAtALook, IsNoAnswer) {
  ASSERT_EQ(story.name, "a server's contract");
  int looks = 0;
  for (Look look{.which = 1, .nth = 1};;) {
    const std::string where =
        story.name + ", look " + std::to_string(look.which) + ", allocation " + std::to_string(look.nth);
    sqlite3* db = fresh();
    look.seen = 0;
    sqlite3_trace_v2(db, SQLITE_TRACE_STMT, on_statement, &look);
    const int rc = run_act(db, story);
    const bool reached = sqlites.failed;
    sqlites = {};
    look.inside = false;
    sqlite3_trace_v2(db, 0, nullptr, nullptr);
    expect_all_or_nothing(db, rc, where);
    EXPECT_EQ(sqlite3_close(db), SQLITE_OK) << where;
    if (HasFailure() || look.seen < look.which) break;
    looks += look.nth == 1 && reached;
    look.which += !reached;
    look.nth = reached ? 2 * look.nth : 1;
  }
  EXPECT_GT(looks, 2);
}

TEST_P(OutOfMemory, Once) { sweep(sqlites, false, " of SQLite"); }
TEST_P(OutOfMemory, ForGood) { sweep(sqlites, true, " of SQLite"); }
TEST_P(OutOfOurMemory, Once) { sweep(ours, false, " of ours"); }
TEST_P(OutOfOurMemory, ForGood) { sweep(ours, true, " of ours"); }
TEST_P(OutOfMemoryInTheLibrary, Once) { sweep(sqlites, false, " of SQLite"); }
TEST_P(OutOfMemoryInTheLibrary, ForGood) { sweep(sqlites, true, " of SQLite"); }

INSTANTIATE_TEST_SUITE_P(Stories, OutOfMemory, ::testing::Range(size_t{0}, kMemoryFaultStories));
constexpr size_t kServersContract = 19;
INSTANTIATE_TEST_SUITE_P(AServersContract, OutOfMemoryAtALook, ::testing::Values(kServersContract));
INSTANTIATE_TEST_SUITE_P(Merges, OutOfMemoryInTheLibrary, ::testing::Range(size_t{0}, size_t{2}));
INSTANTIATE_TEST_SUITE_P(Stories, OutOfOurMemory, ::testing::Range(size_t{0}, kMemoryFaultStories));

}  // namespace
}  // namespace rejoin::testing
