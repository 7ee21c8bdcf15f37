// ALTER TABLE on Rejoin's own tables.
#pragma once

#include <string>

#include "sqlite/sql.h"

namespace rejoin::sqlite {

// SQLite tests the whole schema at each rename and each dropped column, and would refuse over a view, a trigger or an
// index of the application's that does not work here, though none can name these tables. Here it does not.
Status alter_side_table(sqlite3* db, const std::string& sql);

}  // namespace rejoin::sqlite
