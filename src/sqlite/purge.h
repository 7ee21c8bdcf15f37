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

// Where a look through all records stands.
struct PurgePlace {
  int64_t table = 0;
  Bytes key;
};

// Forgets a part of what may be forgotten, from `place` on, which it moves; counts the rows. To be called after the log
// was compacted. True: there is more to look at.
Result<bool> purge_some(Work& work, PurgePlace& place, int64_t& forgotten);
// The same beside a sync: about `records` at a time, once a day through all of them. True when the log keeps some
// back: compact it.
Result<bool> purge_a_little(Work& work, int64_t records);

}  // namespace rejoin::sqlite
