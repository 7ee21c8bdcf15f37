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
  uint64_t noticed_after(bool Mistakes::*mistake) {
    options_.mistakes = {};
    options_.mistakes.*mistake = true;
    for (uint64_t seed = 1; seed <= kScripts; ++seed)
      if (run_script(generate(seed), options_)) return seed;
    return 0;
  }
  RunOptions options_;
};

TEST_F(Canary, TheOracleAsItIsAgrees) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    auto failure = run_script(generate(seed), options_);
    ASSERT_FALSE(failure) << "seed " << seed << ": " << failure->message;
  }
}

#define CANARY(name) \
  TEST_F(Canary, name) { EXPECT_GT(noticed_after(&Mistakes::name), 0u); }
CANARY(delete_always_wins)
CANARY(update_revives)
CANARY(site_does_not_break_ties)
CANARY(older_write_wins)
CANARY(update_stamps_all_columns)
CANARY(unchanged_columns_are_stamped)
CANARY(replace_is_an_update)
CANARY(upsert_is_an_insert)
CANARY(key_change_keeps_versions)
CANARY(restore_is_an_insert)
CANARY(edits_of_the_dead_are_lost)
CANARY(cells_survive_a_new_birth)
CANARY(rollback_is_ignored)

// Random scripts meet this pair too seldom.
TEST_F(Canary, type_is_not_compared) {
  auto script = parse_script(
      "seed 1\nreplicas 3 memory\ntables items\ninsert on=0 table=items key='k' set=3:1\n"
      "update on=0 table=items key='k' set=3:0x1p+0\nsync on=1 peer=0\n");
  ASSERT_TRUE(script.ok()) << script.error().message;
  EXPECT_FALSE(run_script(*script, options_));
  options_.mistakes.type_is_not_compared = true;
  EXPECT_TRUE(run_script(*script, options_));
}

}  // namespace
}  // namespace rejoin::sim
