#include "postgres/short_locks.h"

#include <chrono>
#include <iterator>
#include <thread>

namespace rejoin::postgres {
namespace {

// Where transactions overlap, some hold the table at any time: a lock is had by who waits longer than each of them
// lasts. None is longer than two of PostgreSQL's deadlock_timeout, so that a deadlock with a writer costs us the
// transaction and not the writer.
constexpr int kWaitsMs[] = {150, 300, 600, 1'200, 2'000};
constexpr std::chrono::milliseconds kPause{250};

// `attempt` gets what begins its transaction, whose end waits for no synchronous standby: the lock would keep everybody
// out as long. Nothing is acknowledged by it; what is, commits later.
Status again_while_locked(Connection& db, const std::function<Status(const std::string& begin)>& attempt) {
  for (const int& wait_ms : kWaitsMs) {
    db.forget_error();
    const Status done = attempt(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = local; SET LOCAL lock_timeout = '" +
        std::to_string(wait_ms) + "ms';");
    const std::string& state = db.last_error().state;
    // Two that replace one function: "tuple concurrently updated".
    const bool again = state == "55P03" || state == "40P01" || state == "XX000";
    if (done.ok() || !again || &wait_ms == std::end(kWaitsMs) - 1) return done;
    std::this_thread::sleep_for(kPause);
  }
  return {};
}

}  // namespace

Status script_with_short_locks(Connection& db, const std::string& sql) {
  return again_while_locked(db, [&](const std::string& begin) { return db.script(begin + sql + "COMMIT;"); });
}

Status with_short_locks(Connection& db, const std::function<Result<std::string>()>& make) {
  return again_while_locked(db, [&](const std::string& begin) -> Status {
    REJOIN_TRY(db.script(begin));
    const Result<std::string> sql = make();
    if (sql.ok()) return db.script(*sql + "COMMIT;");
    if (db.usable() && db.in_transaction()) (void)db.query("ROLLBACK").ok();
    return sql.error();
  });
}

}  // namespace rejoin::postgres
