// P1, P3, P4, P6, P7: random scripts on real SQLite replicas behave exactly as the documented semantics say
// (src/sim/oracle.h).
//
//   REJOIN_MODEL_SCRIPTS=n   how many scripts (10,000)
//   REJOIN_MODEL_FIRST=s     the first seed (1)
//   REJOIN_MODEL_SEED=s      this one alone
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/model_run.h"

namespace rejoin::testing {
namespace {

// ctest runs the two beside each other.
class HalfOfTheScripts : public ::testing::TestWithParam<uint64_t> {};
TEST_P(HalfOfTheScripts, BehavesAsTheOracleSays) {
  const uint64_t all = environment_number("REJOIN_MODEL_SCRIPTS", 10'000), half = all / 2;
  const uint64_t first = environment_number("REJOIN_MODEL_FIRST", 1);
  if (GetParam() == 0)
    run_models(first, std::getenv("REJOIN_MODEL_SEED") ? 1 : half);
  else if (!std::getenv("REJOIN_MODEL_SEED"))
    run_models(first + half, all - half);
}
INSTANTIATE_TEST_SUITE_P(ConvergenceModel, HalfOfTheScripts, ::testing::Values(0, 1));

// Every script that once failed, shrunk.
TEST(ConvergenceModel, KeptScriptsPass) {
  for (const auto& entry : std::filesystem::directory_iterator(REJOIN_SOURCE_DIR "/tests/scripts")) {
    if (entry.path().extension() != ".txt") continue;
    std::ifstream file(entry.path());
    std::stringstream text;
    text << file.rdbuf();
    run_model_text(entry.path().filename().string(), text.str());
  }
}

}  // namespace
}  // namespace rejoin::testing
