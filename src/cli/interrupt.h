// Ctrl-C and SIGTERM, for commands that stop at a safe place instead of dying where they are.
#pragma once

#include <atomic>
#include <functional>

namespace rejoin::cli {

// From now on the first SIGINT or SIGTERM only raises the flag; the second one kills, as it always did. Main thread,
// once.
void catch_interrupts();
// Has one come?
const std::atomic<bool>& interrupted();

// For `serve`. Constructed before any thread starts: blocks both signals in this and all later threads.
class StopSignal {
 public:
  // With `hangup`, SIGHUP is for wait() too, and no end.
  explicit StopSignal(bool hangup = false);
  // Sleeps until SIGINT or SIGTERM comes, then lets a second one kill. Returns its number. Every SIGHUP meanwhile is a
  // call of `on_hangup`.
  int wait(const std::function<void()>& on_hangup);

 private:
  bool hangup_;
};

}  // namespace rejoin::cli
