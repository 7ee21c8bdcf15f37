// Rows that a server does not let this device see any more leave it, as if they had never come: no deletion, nothing is
// captured, nothing travels. They wait in rejoin_evicted until the pages that they came with are visible, and while the
// device has writes of them that the server has not taken.
#pragma once

#include <utility>
#include <vector>

#include "sqlite/context.h"
#include "sync/store.h"

namespace rejoin::sqlite {

// Those with a horizon are rows that a server has forgotten as deleted: only a server is believed.
Status note_evicted(Work& work, const std::vector<sync::EvictedRows>& evicted, bool server, int64_t pushed);
// Rows that a server has forgotten as deleted, as it said when they were pushed: they leave with its next pages, or at
// once when those come from the beginning, where nothing is said of what is not there.
Status note_forgotten(Work& work, const std::vector<std::pair<const Table*, Bytes>>& rows, crdt::Hlc horizon);
// A page brings rows that were to leave.
Status keep_what_came_back(Context& ctx, BytesView frame);
// A server has lost what this device had written and it had taken: it has not judged these rows yet.
Status keep_own_rows(Work& work);
// Removes those that can leave. `pushed`: log entries behind it are not sent yet; `source`: whose pages they came with.
// A row that the server has refused a write of stays listed, as one that the server has not, until it is discarded.
Status evict(Work& work, int64_t pushed, BytesView source);

}  // namespace rejoin::sqlite
