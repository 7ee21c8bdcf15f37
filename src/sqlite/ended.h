// Tables that were synced under a name and are not any more, because they were dropped, renamed or untracked. Another
// one may have the name now.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "crdt/version.h"
#include "sqlite/context.h"

namespace rejoin::sqlite {

enum class EndedBy : int { untrack = 0, drop = 1, rename = 2 };

// Notes that a tracked table is not synced under this name any more; before anything of it is gone.
Status note_ended(Context& ctx, uint64_t id, const std::string& name, EndedBy by);
// A table has this name that is synced.
Status forget_ended(Context& ctx, const std::string& name);
// A table of this name was dropped, and its application knows that it is not synced any more. False: none was.
Result<bool> accept_ended(Context& ctx, const std::string& name);

struct FormerLife {
  std::vector<std::string> columns;  // the key's too
  crdt::Hlc born = 0;                // the newest insert that was known of its rows
};
// Of the table that was synced under this name before.
Result<std::optional<FormerLife>> former_life(Context& ctx, const std::string& name);

struct EndedTable {
  std::string name;
  int64_t unsent;  // writes that no server had; 0 without a server, too
  std::string message;
};
// Tables that have the name of one that was dropped or renamed, and are not synced.
Result<std::vector<EndedTable>> ended_tables(Context& ctx);

}  // namespace rejoin::sqlite
