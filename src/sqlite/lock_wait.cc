#include "sqlite/lock_wait.h"

#include <algorithm>
#include <utility>

#include "sqlite/api.h"

namespace rejoin::sqlite {

LockWait::LockWait(sqlite3* db, std::function<bool(int)> go_on) : go_on_(std::move(go_on)) {
  sqlite3_busy_handler(db, on_busy, this);
}

int LockWait::on_busy(void* self, int earlier) {
  static constexpr int kLongestNap = 100;
  LockWait& wait = *static_cast<LockWait*>(self);
  if (earlier == 0) wait.waited_ms_ = 0;
  const int nap = std::min(kLongestNap, 1 << std::min(earlier, 10));
  wait.waited_ms_ += sqlite3_sleep(nap);
  return wait.go_on_(wait.waited_ms_) ? 1 : 0;
}

}  // namespace rejoin::sqlite
