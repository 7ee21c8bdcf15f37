// Ctrl-C and SIGTERM, for commands that stop at a safe place instead of dying where they are.
#pragma once

#include <atomic>

namespace rejoin::cli {

// From now on the first SIGINT or SIGTERM only raises the flag; the second one kills, as it always did. Main thread,
// once.
void catch_interrupts();
// Has one come?
const std::atomic<bool>& interrupted();

// For `serve`. Constructed before any thread starts: blocks both signals in this and all later threads.
class StopSignal {
 public:
  StopSignal();
  // Sleeps until SIGINT or SIGTERM comes, then lets a second one kill. Returns its number.
  int wait();
};

}  // namespace rejoin::cli
