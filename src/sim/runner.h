// Runs a script on real SQLite replicas, checking every step against the oracle.
#pragma once

#include <optional>

#include "sim/script.h"
#include "sim/world.h"

namespace rejoin::sim {

// The first failure, or nothing. Deterministic: the same script gives the same answer. Steps that make no sense (a
// COMMIT outside of a transaction, a letter from an empty mail) do nothing, so that any part of a script is a script.
// `options.folder` must exist when the script uses files.
std::optional<Failure> run_script(const Script& script, const RunOptions& options);

}  // namespace rejoin::sim
