#include "client/sql_sync.h"

#include <exception>

#include "client/sync_once.h"

namespace rejoin::client {
namespace {

// Called from SQLite: nothing may be thrown through it.
Result<std::string> sql_sync(sqlite::Replica& replica, const sqlite::Connection& connection) {
  try {
    // The application waits in its SQL statement: a server that is not there is soon given up. The next call goes on.
    SyncOptions options;
    options.session.attempts = 2;
    options.migrate = connection.migrate.value_or(false);
    REJOIN_ASSIGN(const SyncReport report, sync_once(replica, connection.url, connection.token, options));
    return report_json(report);
  } catch (const std::exception& e) {
    return fail(Code::internal, std::string("the sync failed: ") + e.what());
  }
}

}  // namespace

void install_sql_sync() { sqlite::install_sync_function(&sql_sync); }

}  // namespace rejoin::client
