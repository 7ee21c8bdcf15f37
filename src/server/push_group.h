// Group commit: pushes that arrive while others of their tenant are being written are written together.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "sync/store.h"

namespace rejoin::server {

// Thread-safe. Whoever finds nobody writing writes for all that wait; the others sleep until their reply is there.
// While writing stands still, one tries it and nobody waits behind it: who waits keeps a thread from those that read.
class PushGroup {
 public:
  using Instant = std::chrono::steady_clock::time_point;
  struct Written {
    std::vector<Result<sync::PushReply>> replies;  // one for each request
    bool stalled = false;                          // whoever comes next would fare no better
  };
  // `deadline` is the latest of theirs. `probing`: the one before stalled.
  using Write =
      std::function<Written(const std::vector<const sync::PushRequest*>& requests, Instant deadline, bool probing)>;
  // Errors: busy (others were written until the deadline, or writing stands still), and what `write` gives.
  Result<sync::PushReply> push(const sync::PushRequest& request, Instant deadline, const Write& write);
  // How many wait that nobody writes yet.
  size_t waiting() const;

 private:
  struct Waiter {
    const sync::PushRequest* request;
    Instant deadline;
    bool taken = false;  // whoever writes has it
    std::optional<Result<sync::PushReply>> reply;
  };
  std::vector<Waiter*> take();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Waiter*> waiting_;
  bool writing_ = false;
  bool stalled_ = false;  // nobody waits, then
};

}  // namespace rejoin::server
