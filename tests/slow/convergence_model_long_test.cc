// The model test of tests/convergence_model_test.cc, longer, and with other seeds each time. REJOIN_MODEL_SCRIPTS=n
// (100,000).
#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/support/model_run.h"

namespace rejoin::testing {
namespace {

TEST(ConvergenceModelLong, RandomScriptsBehaveAsTheOracleSays) {
  uint64_t first = environment_number("REJOIN_MODEL_FIRST", system_random().u64() >> 24);
  RecordProperty("first_seed", std::to_string(first));
  run_models(first, environment_number("REJOIN_MODEL_SCRIPTS", 100'000));
}

}  // namespace
}  // namespace rejoin::testing
