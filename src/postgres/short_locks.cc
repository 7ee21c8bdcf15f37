#include "postgres/short_locks.h"

#include <chrono>
#include <thread>

namespace rejoin::postgres {
namespace {

constexpr const char* kLockWait = "150ms";
constexpr std::chrono::milliseconds kPause{250}, kInAll{5'000};

Status again_while_locked(Connection& db, const std::function<Status()>& attempt) {
  const auto until = std::chrono::steady_clock::now() + kInAll;
  for (;;) {
    db.forget_error();
    const Status done = attempt();
    if (done.ok() || db.last_error().state != "55P03" || std::chrono::steady_clock::now() >= until) return done;
    std::this_thread::sleep_for(kPause);
  }
}

const std::string kBegin = "BEGIN; SET LOCAL lock_timeout = '" + std::string(kLockWait) + "';";

}  // namespace

Status script_with_short_locks(Connection& db, const std::string& sql) {
  return again_while_locked(db, [&] { return db.script(kBegin + sql + "COMMIT;"); });
}

Status with_short_locks(Connection& db, const std::function<Result<std::string>()>& make) {
  return again_while_locked(db, [&]() -> Status {
    REJOIN_TRY(db.script(kBegin));
    const Result<std::string> sql = make();
    if (sql.ok()) return db.script(*sql + "COMMIT;");
    if (db.usable() && db.in_transaction()) (void)db.query("ROLLBACK").ok();
    return sql.error();
  });
}

}  // namespace rejoin::postgres
