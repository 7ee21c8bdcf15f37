// Changes that cannot be applied yet: listed with their reason in rejoin_parked, replayed when it may have gone.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "sqlite/context.h"

namespace rejoin::sqlite {

// As due_ms: when the row is known here. It may have been deleted and forgotten, so it is not passed on either.
inline constexpr int64_t kDueWhenKnown = std::numeric_limits<int64_t>::max();

// As due_ms of what came under a table's former key and has come with the new one since: it waits no more, is not
// listed and not passed on, and stays for a time so that, coming again, it is known.
inline constexpr int64_t kAnswered = -1;

// The reason where the rest of a row was merged.
inline constexpr const char* kLacksColumns =
    "it has columns that this table lacks; they will be merged when the table has them";

// Keeps a frame of one row for later. `due_ms`: not before this time (stamps from the future), or kDueWhenKnown (it is
// joined with what waits of that row); 0: when the schema has changed. `announced`: it was passed on before.
Status park_frame(Context& ctx, const std::string& table, BytesView key, size_t key_columns, const std::string& reason,
                  int64_t due_ms, BytesView frame, bool announced);
// Lists a row whose values the application's table refused; they are in the shadow table.
Status park_hidden(Context& ctx, const Table& table, BytesView key, const std::string& reason);
Status unpark_hidden(Context& ctx, const Table& table, BytesView key);
// The names, as their senders write them, under which something is kept for a tracked table: its own and former ones.
Result<std::vector<std::string>> names_aside(Context& ctx, const Table& table);
// How many alive rows of the table are nowhere but in the metadata, or are shown without their reference.
Result<int64_t> count_hidden(Context& ctx, const Table& table);
// Merges again what was kept for `table` (its schema has changed).
Status replay_parked(Work& work, const std::string& table);
// The same for a tracked table, under all names that it has had.
Status replay_parked_of(Work& work, uint64_t table);
// Merges again what was kept because its stamps lay in the future, as far as its time has come.
Status replay_due(Work& work);
// Merges what was kept until its row is known, as far as it is. Everything must have been folded.
Status replay_known(Work& work);

}  // namespace rejoin::sqlite
