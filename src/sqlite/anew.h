// Rows that were written here, never sent, and refused because they are older than what a server remembers.
#pragma once

#include <optional>
#include <vector>

#include "sqlite/context.h"
#include "sync/store.h"

namespace rejoin::sqlite {

// Of the rows that a server refused as before its horizon, those that nobody else can have heard of are written anew:
// an insert of now. They are taken off the list, and so are those that this replica only held: they leave. `server`:
// its site, if known. Returns how many were written. Everything must have been folded, and what is noted of earlier
// refusals still be there. `lost_since`: the server has lost what is stamped later, so that its horizon says nothing of
// such rows: they stay on the list.
Result<int64_t> write_anew(Work& work, std::vector<sync::RefusedRow>& refused,
                           const std::optional<crdt::SiteId>& server, std::optional<crdt::Hlc> lost_since);
// At the end of a sync, when all is pulled: the refused rows of renamed tables that were sent under a former name and
// have not left since. That name's deletions don't tell of the new one's, so the server took them for forgotten.
Status write_waiting_anew(Work& work);

}  // namespace rejoin::sqlite
