// Who this replica is: copies of a file must not share a site id.
#pragma once

#include "sqlite/context.h"

namespace rejoin::sqlite {

// A new site id. Writes that no server has acknowledged move to it with their times, and so do those that one has
// refused; everything else stays with the old one.
Status take_new_identity(Work& work);
// What a server has refused of this file's former sites moves to the present one with its times, in the list too: a
// server takes a device's own only. What the server said it has stays.
Status take_over_refused(Work& work);
// The site that this replica is, and those that it was, the latest first.
Result<std::vector<uint32_t>> own_sites(Work& work);
// Gives unacknowledged local writes honest stamps: those above `limit` become max(min(own, limit), last + 1),
// restarting from last_remote. Writes up to log position `after` are left alone.
Status restamp_unsent(Work& work, int64_t after, crdt::Hlc limit);

}  // namespace rejoin::sqlite
