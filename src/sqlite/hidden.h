// Rows that are alive but that the application's table does not take: their values wait in the shadow table.
#pragma once

#include "sqlite/context.h"

namespace rejoin::sqlite {

// Shows the hidden rows of a table that fit now, because what stood in their way was changed or deleted. The table's
// records must not be read meanwhile. The application's triggers run, as in any merge; true when they, or something
// they did, left entries in the log that are to be folded.
Result<bool> retry_hidden(Context& ctx, const Table& table);

}  // namespace rejoin::sqlite
