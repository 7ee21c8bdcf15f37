// The model test must be able to see. Each rule of the oracle is turned wrong, one at a time; the scripts must notice
// every time.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "sim/generate.h"
#include "sim/runner.h"

namespace rejoin::sim {
namespace {

constexpr uint64_t kScripts = 1000;

class Canary : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.folder = (std::filesystem::temp_directory_path() / ("rejoin-canary-" + std::to_string(getpid()))).string();
    std::filesystem::create_directories(options_.folder);
  }
  void TearDown() override { std::filesystem::remove_all(options_.folder); }
  // The number of scripts until the mistake is noticed; 0: never.
  uint64_t noticed_after(bool Mistakes::*mistake, Subject subject) {
    options_.mistakes = {};
    options_.mistakes.*mistake = true;
    for (uint64_t seed = 1; seed <= kScripts; ++seed)
      if (run_script(generate(seed, subject), options_)) return seed;
    return 0;
  }
  void expect_noticed(bool Mistakes::*mistake, const char* text) {
    auto script = parse_script(text);
    ASSERT_TRUE(script.ok()) << script.error().message;
    EXPECT_FALSE(run_script(*script, options_));
    options_.mistakes.*mistake = true;
    EXPECT_TRUE(run_script(*script, options_));
  }
  RunOptions options_;
};

TEST_F(Canary, TheOracleAsItIsAgrees) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    auto failure = run_script(generate(seed), options_);
    ASSERT_FALSE(failure) << "seed " << seed << ": " << failure->message;
  }
}

#define CANARY(name, subject) \
  TEST_F(Canary, name) { EXPECT_GT(noticed_after(&Mistakes::name, Subject::subject), 0u); }
CANARY(delete_always_wins, plain)
CANARY(update_revives, plain)
CANARY(site_does_not_break_ties, plain)
CANARY(older_write_wins, plain)
CANARY(update_stamps_all_columns, plain)
CANARY(unchanged_columns_are_stamped, plain)
CANARY(replace_is_an_update, plain)
CANARY(upsert_is_an_insert, plain)
CANARY(key_change_keeps_versions, plain)
CANARY(restore_is_an_insert, plain)
CANARY(edits_of_the_dead_are_lost, plain)
CANARY(rollback_is_ignored, plain)
CANARY(nothing_is_forgotten, plain)
CANARY(displaced_rows_stay, constraints)
CANARY(nothing_cascades, constraints)
CANARY(check_columns_are_apart, constraints)
CANARY(later_claim_wins, constraints)
CANARY(nocase_is_binary, constraints)
CANARY(partial_index_has_all, constraints)
CANARY(orphans_are_shown, constraints)
CANARY(stand_ins_are_hidden, constraints)
CANARY(late_indexes_hide_nothing, constraints)
CANARY(late_indexes_are_made_over_anything, constraints)

CANARY(unknown_columns_are_lost, alters)
CANARY(former_names_are_forgotten, alters)
CANARY(former_table_names_are_forgotten, alters)
CANARY(rows_of_later_table_names_are_lost, alters)
CANARY(added_columns_are_written, alters)
CANARY(deletions_survive_a_new_key, alters)
CANARY(a_new_key_stamps_anew, alters)
CANARY(writes_between_begin_and_commit_are_lost, alters)

CANARY(renamed_columns_claim_nothing, both)
CANARY(dropped_indexes_stay, both)

// Random scripts meet these too seldom.
TEST_F(Canary, type_is_not_compared) {
  expect_noticed(&Mistakes::type_is_not_compared,
                 "seed 1\nreplicas 3 memory\ntables items\ninsert on=0 table=items key='k' set=3:1\n"
                 "update on=0 table=items key='k' set=3:0x1p+0\nsync on=1 peer=0\n");
}
// Replica 0 writes to a row that replica 3 inserts at the same time, and a little later by the counter.
TEST_F(Canary, cells_survive_a_new_birth) {
  expect_noticed(&Mistakes::cells_survive_a_new_birth,
                 "seed 401\nreplicas 4 memory\ntables loose\nupsert on=3 table=loose key=''\nsync on=2 peer=3\n"
                 "insert on=1 table=loose key='b'\nsend on=2 peer=1\ninsert on=3 table=loose key='b'\n"
                 "sync on=0 peer=1\nupdate on=0 table=loose key='b' set=0:inf\nsend on=0 peer=1\n");
}
// Replica 1 hears of a row with the new key before it has that.
TEST_F(Canary, rows_with_a_later_key_are_lost) {
  expect_noticed(&Mistakes::rows_with_a_later_key_are_lost,
                 "seed 1\nreplicas 3 memory\ntables turned\nalter on=0 table=turned\n"
                 "insert on=0 table=turned key='p'/1 set=0:'x'\nsync on=1 peer=0\nalter on=1 table=turned\n");
}
// l0 hides l1 by its name, and l1, hidden, still hides l2.
TEST_F(Canary, hidden_rows_claim_nothing) {
  expect_noticed(&Mistakes::hidden_rows_claim_nothing,
                 "seed 1\nreplicas 3 memory\ntables lists\ninsert on=0 table=lists key='l0' set=0:'a'\n"
                 "clock on=1 n=5\ninsert on=1 table=lists key='l1' set=0:'A',1:'n',2:0\n"
                 "clock on=2 n=9\ninsert on=2 table=lists key='l2' set=1:'n',2:0\nsync on=0 peer=1\n"
                 "sync on=0 peer=2\n");
}
// Without it the new row would take the old one's place.
TEST_F(Canary, restrict_is_ignored) {
  expect_noticed(&Mistakes::restrict_is_ignored,
                 "seed 1\nreplicas 3 memory foreign_keys\ntables lists entries notes\n"
                 "insert on=0 table=lists key='l0' set=0:'a'\ninsert on=0 table=notes key='n0' set=2:'l0'\n"
                 "replace on=0 table=lists key='l0' set=0:'b'\n");
}

}  // namespace
}  // namespace rejoin::sim
