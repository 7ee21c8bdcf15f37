// The horizon: up to which stamp deletions have been forgotten here, and what that means for rows that are unknown.
// docs/adr/0009-forgotten-deletions.md has the rules and why they are safe.
#pragma once

#include "crdt/version.h"
#include "sqlite/context.h"

namespace rejoin::sqlite {

struct Horizon {
  crdt::Hlc hlc = 0;       // no stamp of a row that was forgotten is above it; 0: nothing was forgotten
  int64_t position = 0;    // log positions up to which a reader may have missed deletions
  int64_t sent = 0;        // own writes up to this log position may be known elsewhere
  int64_t keep_days = -1;  // how long deletions are kept at least; -1: not set in this file
  int64_t looked_ms = 0;   // when all records were last looked through
};
Result<Horizon> read_horizon(Context& ctx);
// Rows without a stamp above `hlc` may have gone; readers of the log before `position` may have missed them.
Status raise_horizon(Context& ctx, crdt::Hlc hlc, int64_t position);
// Own writes up to this log position may be known elsewhere.
Status note_sent(Context& ctx, int64_t position);

// 2200-01-01: a server that claims a later time or horizon is not believed, for its stamps would outlast every device.
inline constexpr int64_t kLatestBelievedMs = 7'258'118'400'000;

}  // namespace rejoin::sqlite
