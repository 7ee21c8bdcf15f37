// Columns of a tracked table that come, go and change their names, in the metadata. The table itself has changed
// already; the capture triggers are off.
#pragma once

#include <string>
#include <vector>

#include "sqlite/context.h"

namespace rejoin::sqlite {

// The columns of any table in the order of their declaration.
Result<std::vector<std::string>> declared_columns(Context& ctx, const std::string& table, bool generated_too);

// Those of its primary key, in the key's order.
Result<std::vector<std::string>> key_columns(Context& ctx, const std::string& table);

struct RenamedColumn {
  int64_t column;  // its id; -1 - i for the i-th key column
  std::string from, to;
};
// They keep their ids and versions, and the values of deleted rows. All at once: they may change names with each other.
Status rename_columns(Context& ctx, const Table& table, const std::vector<RenamedColumn>& renamed);
// The id stays taken; the values of deleted rows go with it.
Status drop_column(Context& ctx, const Table& table, uint32_t column);
// New ones read as their default and are news to nobody. When one has the name of a dropped column, what others have
// for that is asked for again.
Status add_columns(Context& ctx, const Table& table, const std::vector<std::string>& names);
// The capture triggers, made anew for the table as the catalog of now has it.
Status renew_triggers(Context& ctx, uint64_t table);

}  // namespace rejoin::sqlite
