// Changes of tables that others use.
#pragma once

#include <functional>
#include <string>

#include "postgres/connection.h"

namespace rejoin::postgres {

// Runs `sql`, statements that each end with a semicolon, as one transaction that locks tables. Whoever writes such a
// table queues up behind the one that waits for its lock: so this waits for a moment only, lets the others through, and
// begins again with a longer one, for 5 s. Not inside a transaction. Errors: busy (somebody held a table all the
// while), and what PostgreSQL reports; nothing is changed then.
Status script_with_short_locks(Connection& db, const std::string& sql);
// The same with statements that depend on what is there: `make` asks in the transaction that they are then part of,
// each time that it begins again.
Status with_short_locks(Connection& db, const std::function<Result<std::string>()>& make);

}  // namespace rejoin::postgres
