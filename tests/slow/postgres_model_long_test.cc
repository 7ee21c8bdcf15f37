// The model test of tests/postgres_model_test.cc, longer, and with other seeds each time. REJOIN_POSTGRES_SCRIPTS=n
// (2,000).
#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/support/model_run.h"
#include "tests/support/postgres_model.h"

namespace rejoin::testing {
namespace {

TEST(PostgresModelLong, RandomScriptsEndAsTheOracleSays) {
  const uint64_t first = environment_number("REJOIN_POSTGRES_FIRST", system_random().u64() >> 24);
  RecordProperty("first_seed", std::to_string(first));
  PostgresModel().run_seeds(first, environment_number("REJOIN_POSTGRES_SCRIPTS", 2'000));
}

}  // namespace
}  // namespace rejoin::testing
