// Compaction: the log and feed shrink to what somebody may still ask for.
#pragma once

#include "sqlite/context.h"

namespace rejoin::sqlite {

// Forgets folded log entries that every connected server has acknowledged and, on a server, every device has. Readers
// with an older position get a scan of the records instead. Returns how many entries went.
Result<int64_t> compact(Context& ctx);
// The same by itself when the log has grown out of proportion; called at the end of a sync.
Status compact_if_worthwhile(Work& work);

// JSON array of what is wrong: records without rows, rows without records, damaged records, leftover tables.
Result<std::string> doctor(Context& ctx);

}  // namespace rejoin::sqlite
