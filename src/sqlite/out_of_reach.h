// Tables that this connection cannot write, because an index, a CHECK or a generated column of theirs uses a function
// or a collation of the application's that it lacks. What comes for their rows waits, as it came, and everything else
// goes on. They are noted in the file, so that a connection which has what it takes merges what waits, and decides anew
// what of them is visible.
#pragma once

#include <string>
#include <vector>

#include "sqlite/context.h"

namespace rejoin::sqlite {

// Is the connection's last error one for want of a function or a collation?
bool lacks_something(sqlite3* db);
// What this connection lacks to write the table, for rejoin_parked; nullptr when nothing. Found out once a transaction.
Result<const std::string*> out_of_reach(Context& ctx, const Table& table);
// Error unsupported where it is out of reach.
Status require_reach(Context& ctx, const Table& table);

Status note_out_of_reach(Context& ctx, const Table& table);
Result<bool> is_noted_out_of_reach(Context& ctx, uint64_t table);
// Of those that are noted the ones that this connection can write and has not tried in vain, or that are not tracked
// any more.
Result<std::vector<uint64_t>> back_in_reach(Context& ctx);
Status forget_out_of_reach(Context& ctx, const std::vector<uint64_t>& tables);

}  // namespace rejoin::sqlite
