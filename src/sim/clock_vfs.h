// A SQLite VFS whose clock is ours, so that julianday('now') inside a trigger, too, says what a FakeClock says.
#pragma once

#include <string>

#include "base/clock.h"

namespace rejoin::sim {

// The name of a VFS that stores in memory (SQLite's memdb: names that begin with "/" are shared between connections of
// this process) or in files (the default VFS), and takes the time from `clock`. One VFS for each `slot` (0..16) and
// kind; asking again replaces its clock, so connections of one slot always agree. `clock` must outlive its connections.
// Not thread-safe.
std::string clock_vfs(int slot, bool files, Clock& clock);

}  // namespace rejoin::sim
