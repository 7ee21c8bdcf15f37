// Forgetting deletions: the records and kept values of rows that were deleted long ago, and that everybody knows to be.
#pragma once

#include "sqlite/context.h"

namespace rejoin::sqlite {

// So long deletions are kept at least, and devices and servers count that were not seen, unless the file says
// otherwise.
inline constexpr int64_t kKeepDays = 30;
inline constexpr int64_t kDayMs = 24 * 3600 * 1000;

// How long this file keeps them.
Result<int64_t> keep_ms(Context& ctx);
// Sets it for good. Error: bad_argument (negative, or more than a lifetime).
Status set_keep_days(Context& ctx, int64_t days);

// Forgets what may be forgotten, in one go. To be called after the log was compacted. Returns the number of rows.
Result<int64_t> purge(Work& work);
// The same in small steps: about `records` at a time, once a day through all of them. True when the log keeps some
// back: compact it.
Result<bool> purge_a_little(Work& work, int64_t records);

}  // namespace rejoin::sqlite
