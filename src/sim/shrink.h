// Makes a failing script small.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "sim/script.h"
#include "sim/world.h"

namespace rejoin::sim {

// Drops steps, tables, replicas and values as long as `run` still fails with the same kind. Delta debugging: Zeller and
// Hildebrandt, "Simplifying and isolating failure-inducing input", 2002. Runs the script some hundreds of times.
Script shrink(const Script& script, const std::string& kind,
              const std::function<std::optional<Failure>(const Script&)>& run);

}  // namespace rejoin::sim
