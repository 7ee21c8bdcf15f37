// rejoin_alter(): a tracked table is changed by one statement and stays tracked, all in one transaction.
#pragma once

#include <string>

#include "sqlite/context.h"

namespace rejoin::sqlite {

// One ALTER TABLE, CREATE INDEX or DROP INDEX. Errors: bad_argument (other SQL, or SQLite refuses it), not_tracked;
// then nothing was changed.
Status alter(Context& ctx, const std::string& sql);

// Adds columns; `ddl`: name, type and default of each, as ALTER TABLE ADD COLUMN takes them. Everything must have been
// folded. Rows read the defaults; nothing is told to anyone.
Status add_declared_columns(Work& work, uint64_t table, const std::vector<std::string>& ddl);

}  // namespace rejoin::sqlite
