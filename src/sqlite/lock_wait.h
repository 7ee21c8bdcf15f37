// Waiting for another connection's lock, with somebody who hears of it.
#pragma once

#include <functional>

struct sqlite3;

namespace rejoin::sqlite {

// Takes the place of the connection's busy timeout, for as long as the connection is open; must outlive it. A statement
// that meets a lock naps, up to 100 ms at a time, and after each nap asks `go_on` with the milliseconds that it has
// waited, in the statement's thread: false ends the wait, and the statement fails with SQLITE_BUSY.
class LockWait {
 public:
  LockWait(sqlite3* db, std::function<bool(int waited_ms)> go_on);
  LockWait(const LockWait&) = delete;
  LockWait& operator=(const LockWait&) = delete;

 private:
  static int on_busy(void* self, int earlier);

  const std::function<bool(int)> go_on_;
  int waited_ms_ = 0;
};

}  // namespace rejoin::sqlite
