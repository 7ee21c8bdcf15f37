// Makes a script from a seed.
#pragma once

#include "sim/script.h"

namespace rejoin::sim {

// What a script is about; any: all kinds come up.
enum class Subject { any, plain, constraints, alters, both };  // both: tables with constraints that change

// The same seed gives the same script, on every machine. 10 to 40 steps on 3 to 5 replicas, few rows, so that replicas
// meet often.
Script generate(uint64_t seed, Subject subject = Subject::any);

}  // namespace rejoin::sim
