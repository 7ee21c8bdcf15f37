// P1, P2, P3, P4, P6, P7: random scripts of devices and plain SQL on one PostgreSQL, through two server nodes, with
// constraints, transactions that commit late, replies that get lost and pages that are cut: in the end all have the
// same rows, and those that the script's own history says (tests/support/postgres_oracle.h).
//
//   REJOIN_POSTGRES_SCRIPTS=n     how many scripts (40)
//   REJOIN_POSTGRES_SEED=s        this one alone
//   REJOIN_POSTGRES_KEEP_GOING=1  lists every seed that fails, instead of making the first one small
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/model_run.h"
#include "tests/support/postgres_model.h"

namespace rejoin::testing {
namespace {

TEST(PostgresModelTest, RandomScriptsEndAsTheOracleSays) {
  PostgresModel().run_seeds(1, environment_number("REJOIN_POSTGRES_SCRIPTS", 40));
}

// A model that cannot fail proves nothing: what goes wrong with captured writes must show.
TEST(PostgresModelTest, MistakesOfTheCaptureAreNoticed) {
  PostgresModel model;
  model.sql().run(
      "CREATE FUNCTION mistake() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
      "CREATE TRIGGER mistake BEFORE INSERT ON rejoin.outbox FOR EACH ROW EXECUTE FUNCTION mistake()");
  for (const char* mistake : {"IF NEW.op = 1 THEN RETURN NULL; END IF", "IF NEW.op = 2 THEN RETURN NULL; END IF",
                              "IF NEW.op = 3 THEN RETURN NULL; END IF", "NEW.ms := NEW.ms - 100000",
                              "NEW.ms := NEW.ms + 1000", "NEW.columns := NEW.columns[1:1]", "NEW.columns := NULL"}) {
    model.sql().run(std::string("CREATE OR REPLACE FUNCTION mistake() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN ") +
                    mistake + "; RETURN NEW; END'");
    EXPECT_TRUE(model.notices(20)) << mistake;
  }
}

// Every script that once failed, shrunk.
TEST(PostgresModelTest, KeptScriptsPass) {
  PostgresModel model;
  for (const auto& entry : std::filesystem::directory_iterator(REJOIN_SOURCE_DIR "/tests/scripts/postgres")) {
    std::ifstream file(entry.path());
    std::stringstream text;
    text << file.rdbuf();
    auto script = parse_model(text.str());
    ASSERT_TRUE(script.ok()) << entry.path() << ": " << script.error().message;
    EXPECT_EQ(model.run(*script), "") << entry.path();
  }
}

}  // namespace
}  // namespace rejoin::testing
