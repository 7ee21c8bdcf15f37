// P1, P3, P4, P6, P7: random scripts on real SQLite replicas behave exactly as the documented semantics say
// (src/sim/oracle.h).
//
//   REJOIN_MODEL_SCRIPTS=n   how many scripts (10,000)
//   REJOIN_MODEL_FIRST=s     the first seed (1)
//   REJOIN_MODEL_SEED=s      this one alone
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/model_run.h"

namespace rejoin::testing {
namespace {

TEST(ConvergenceModel, RandomScriptsBehaveAsTheOracleSays) {
  run_models(environment_number("REJOIN_MODEL_FIRST", 1), environment_number("REJOIN_MODEL_SCRIPTS", 10'000));
}

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
