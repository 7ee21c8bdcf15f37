// What was done to tracked tables without telling us.
#pragma once

#include "sqlite/context.h"

namespace rejoin::sqlite {

// Follows what ALTER TABLE and DROP TABLE did: renamed tables and columns keep their records, new columns get ids (and
// what was written to them is claimed), dropped tables stop being tracked.
Status adopt_schema_changes(Work& work);

}  // namespace rejoin::sqlite
