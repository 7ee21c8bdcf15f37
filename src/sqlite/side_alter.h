// ALTER TABLE on Rejoin's own tables.
#pragma once

#include <string>

#include "sqlite/sql.h"

namespace rejoin::sqlite {

// SQLite tests the whole schema at each rename and each dropped column, and would refuse over a view, a trigger or an
// index of the application's that does not work here, though none can name these tables. Here it does not.
// Errors: schema_refused, with a SQLite (3.37) that does it here, too.
Status alter_side_table(sqlite3* db, const std::string& sql);
// SQLite did not look at the table itself either. `table`: its name, quoted. Errors: internal, if it cannot be read.
Status check_side_table(sqlite3* db, const std::string& table);

}  // namespace rejoin::sqlite
