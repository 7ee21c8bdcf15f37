// A statement that reads tables and calls rejoin_apply() in between: what a merge does to the connection may make
// SQLite end it with SQLITE_ABORT, halfway and without a reason that helps. Then the merge had better not be done.
#pragma once

#include "base/result.h"

struct sqlite3;

namespace rejoin::sqlite {

// Before something that expires all prepared statements: those that are under way go on, but must not open a table any
// more. Before a savepoint is rolled back in a transaction in which the schema has changed: they must not read on
// either. Error: bad_argument, with the cure. Both are silent when memory runs out.
Status caller_outlives_expiry(sqlite3* db);
Status caller_outlives_rollback(sqlite3* db);

}  // namespace rejoin::sqlite
