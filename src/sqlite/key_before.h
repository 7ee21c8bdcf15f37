// What waits under the key that a table had before. What it says may have come with the new key since, from whoever
// wrote it and has made the same change: then it does not wait any more.
#pragma once

#include <string>
#include <vector>

#include "sqlite/context.h"

namespace rejoin::sqlite {

// In rejoin_former: this less i, of the i-th column of the key before this one.
inline constexpr int64_t kKeyBefore = -1'000'001;

// Notes the key that the table had until now, by the names that its columns have now.
Status note_key_before(Context& ctx, uint64_t table, const std::vector<std::string>& names);
// Those names; none when it always had this key.
Result<std::vector<std::string>> key_before(Context& ctx, const Table& table);
// Drops of what waits under the key `before` what these rows answer: all that it says is known of a row that has the
// columns of that key, as late or later. Returns how many entries went.
Result<uint64_t> drop_answered(Context& ctx, const Table& table, const std::vector<std::string>& before,
                               const std::vector<Bytes>& keys);
// The same with all rows, for what has just come: reads the table's keys once. Deletions of rows that are not here go
// too: the new key has forgotten all deletions.
Result<uint64_t> drop_answered_by_any(Context& ctx, const Table& table, const std::vector<std::string>& before);

}  // namespace rejoin::sqlite
