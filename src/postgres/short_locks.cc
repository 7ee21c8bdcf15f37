#include "postgres/short_locks.h"

#include <chrono>
#include <thread>

namespace rejoin::postgres {
namespace {

constexpr const char* kLockWait = "150ms";
constexpr std::chrono::milliseconds kPause{250}, kInAll{5'000};

}  // namespace

Status script_with_short_locks(Connection& db, const std::string& sql) {
  const std::string transaction = "BEGIN; SET LOCAL lock_timeout = '" + std::string(kLockWait) + "';" + sql + "COMMIT;";
  const auto until = std::chrono::steady_clock::now() + kInAll;
  for (;;) {
    const Status done = db.script(transaction);
    if (done.ok() || db.last_error().state != "55P03" || std::chrono::steady_clock::now() >= until) return done;
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace rejoin::postgres
