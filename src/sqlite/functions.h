// The SQL functions and virtual tables. docs/sql.md is their reference.
#pragma once

#include "base/result.h"
#include "sqlite/replica.h"

struct sqlite3;

namespace rejoin::sqlite {

// Registers everything on the replica's connection. The replica must outlive the connection's use of them.
Status register_functions(sqlite3* db, Replica& replica);
// Makes a replica that the connection owns (it goes when the connection closes) and registers everything: what the
// extension does.
Status install(sqlite3* db);

// Parts of register_functions, one per virtual table.
int register_changes_vtab(sqlite3* db, Replica& replica);
int register_changesets_vtab(sqlite3* db, Replica& replica);

}  // namespace rejoin::sqlite
