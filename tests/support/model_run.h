// Runs many random scripts against the oracle; on a failure shrinks it and says how to replay it.
#pragma once

#include <cstdint>
#include <string>

#include "sim/world.h"

namespace rejoin::testing {

// A folder of this process for real files, in memory where the system has such a place. Removed at the end of the
// process.
const std::string& scratch_folder();

// A number from the environment, or the default.
uint64_t environment_number(const char* name, uint64_t otherwise);

// Runs the scripts of `count` seeds from `first` on. The first failure is shrunk, printed and reported to GoogleTest.
// REJOIN_MODEL_SEED runs that seed alone; REJOIN_MODEL_KEEP_GOING=1 lists every failing seed instead of shrinking the
// first.
void run_models(uint64_t first, uint64_t count);

// Runs one script given as text.
void run_model_text(const std::string& name, const std::string& text);

}  // namespace rejoin::testing
