#include "cli/interrupt.h"

#include <pthread.h>

#include <csignal>

namespace rejoin::cli {
namespace {

std::atomic<bool> g_interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set from a signal handler");

sigset_t stop_signals(bool hangup) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  if (hangup) sigaddset(&set, SIGHUP);
  return set;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { g_interrupted.store(true); };
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // the next one has its usual effect
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

const std::atomic<bool>& interrupted() { return g_interrupted; }

StopSignal::StopSignal(bool hangup) : hangup_(hangup) {
  sigset_t set = stop_signals(hangup_);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

int StopSignal::wait(const std::function<void()>& on_hangup) {
  sigset_t set = stop_signals(hangup_);
  int signal = 0;
  while (sigwait(&set, &signal) != 0 || signal == SIGHUP)
    if (signal == SIGHUP) on_hangup();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  return signal;
}

}  // namespace rejoin::cli
