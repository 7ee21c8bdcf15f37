// The last values of rows that were deleted since the last fold: <table>__rejoin_gone, in the order of deletion.
// Triggers append there, because a table sorted by key would be written all over its pages.
#pragma once

#include "sqlite/context.h"

namespace rejoin::sqlite {

// Moves the values of rows that stayed deleted to the shadow table, sorted by key; the newest wins. Those of rows that
// are back, or that an OR REPLACE was suspected of displacing and did not, are forgotten. For the end of a fold, when
// the log tells of every deletion.
Status shelve_gone(Context& ctx, const Table& table);

}  // namespace rejoin::sqlite
