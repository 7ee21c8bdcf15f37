// Making a table a synced one, and an ordinary one again.
#pragma once

#include "sqlite/context.h"
#include "sqlite/replica.h"

namespace rejoin::sqlite {

Status track(Context& ctx, const std::string& name, const TrackOptions& options);
Status untrack(Context& ctx, const std::string& name);
// Follows what ALTER TABLE and DROP TABLE did without telling us: new columns get ids (and what was written to them is
// claimed), renamed tables keep their records, dropped tables stop being tracked.
Status adopt_schema_changes(Work& work);

}  // namespace rejoin::sqlite
