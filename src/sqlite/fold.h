// Folding: log entries become row records, in log order, with their final stamps.
#pragma once

#include "sqlite/context.h"

namespace rejoin::sqlite {

// Folds everything logged so far and ends a batch. Runs in the caller's transaction. Costs nothing when nothing was
// written.
//
// Stamps: the running maximum of max(ms << 16, last + 1), where `last` is the newest stamp given or merged before this
// fold; entries of one fold and millisecond share a stamp (docs/algebra.md: order within a cell survives because a fold
// keeps only the newest write of a cell).
//
// Then it is settled which rows are visible; not while deferred foreign keys of the transaction miss their parents.
// SQLite counts those, and a row that left without its seeing would be missed at COMMIT. The next fold after it sees to
// that.
Status fold(Work& work);

// Newest log position; 0 when the log is empty.
Result<int64_t> log_tail(Context& ctx);
// Ends a batch at `last_seq`.
Status end_batch(Context& ctx, int64_t last_seq, int64_t origin_site);
// SQLite's julianday as milliseconds since the Unix epoch.
int64_t ms_of_julianday(double jd);

}  // namespace rejoin::sqlite
