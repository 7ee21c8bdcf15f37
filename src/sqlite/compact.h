// Compaction: the log and feed shrink to what somebody may still ask for.
#pragma once

#include <optional>

#include "sqlite/context.h"

namespace rejoin::sqlite {

// Forgets folded log entries that every connected server has acknowledged and, on a server, every device has. Readers
// with an older position get a scan of the records instead. Then deletions that are old enough (sqlite/purge.h).
// `keep_days` sets from now on how old that is. Returns how many entries and rows went.
Result<int64_t> compact(Context& ctx, std::optional<int64_t> keep_days);
// The same by itself, in small steps: the log when it has grown out of proportion, deletions once a day. Called at the
// end of a sync, with everything folded. True: the log has more, for other transactions.
Result<bool> compact_if_worthwhile(Work& work);
// These, with pauses for other writers. When one of them holds the lock for too long, the next sync goes on.
Status compact_the_rest(Context& ctx);

// JSON array of what is wrong: records without rows, rows without records, damaged records, leftover tables.
Result<std::string> doctor(Context& ctx);

}  // namespace rejoin::sqlite
