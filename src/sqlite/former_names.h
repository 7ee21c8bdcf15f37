// What a table and its columns were called before, as the application tells it: a replica that was made with the names
// of today has not seen them change, but others still send, and servers still have, what was written under the old
// ones.
#pragma once

#include "sqlite/context.h"
#include "sqlite/replica.h"

namespace rejoin::sqlite {

// Notes the former names of `options` for a tracked table, and merges what was kept aside because they were not known.
// Errors: bad_argument (a name that is in use, a column that is not there), and then the caller must roll back.
Status note_former_names(Work& work, uint64_t table, const TrackOptions& options);

}  // namespace rejoin::sqlite
