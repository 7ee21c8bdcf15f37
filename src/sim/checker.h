// What must hold when a script has ended.
#pragma once

#include <vector>

#include "sim/world.h"

namespace rejoin::sim {

// Changesets that were written: those that still wait (each may be delivered any number of times, to anyone), and all.
struct Mail {
  std::vector<Letter> waiting;
  std::vector<Letter> all;
};

// Lets everybody hear of everything, then checks: all replicas show the same rows and have the same state as the
// oracle's; nothing is left to tell; old changesets change nothing and make no news; a newcomer that gets all
// changesets in any order, some twice, ends up with the same state; no replica finds damage in its metadata or its
// file.
void check_end(World& world, Mail& mail);

}  // namespace rejoin::sim
