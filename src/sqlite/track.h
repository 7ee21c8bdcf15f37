// Making a table a synced one, and an ordinary one again.
#pragma once

#include <vector>

#include "sqlite/context.h"
#include "sqlite/ended.h"
#include "sqlite/replica.h"

namespace rejoin::sqlite {

Status track(Context& ctx, const std::string& name, const TrackOptions& options);
Status untrack(Context& ctx, const std::string& name);

// Parts of it, for those who change a tracked table themselves.

// Everything that makes a table unfit, as errors with a cure.
Status check_trackable(Context& ctx, const Table& table, const TrackOptions& options);
// The table's records, and where values of dead rows are kept.
Status create_side_tables(Context& ctx, const Table& table);
// Ids from `first` on.
Status add_column_ids(Context& ctx, uint64_t table, const std::vector<std::string>& names, size_t first);
// The log needs as many key columns as the widest key has.
Status widen_log(Context& ctx, size_t key_columns);
struct RenamedTable {
  uint64_t id;
  std::string from, to;
};
// All tracked tables with the name that their triggers sit on now; "" when those are gone with the table.
Result<std::vector<RenamedTable>> names_by_triggers(Context& ctx);
// What belongs to tracked tables that were renamed gets their names, and their rows are news: under that name nobody
// has them. All at once: they may have changed names with each other.
Status rename_tracked(Work& work, const std::vector<RenamedTable>& renamed);
Status announce_rows(Work& work, const Table& table);
// Nothing of it is left but the table.
Status end_tracking(Context& ctx, uint64_t id, const std::string& name, EndedBy by);

}  // namespace rejoin::sqlite
