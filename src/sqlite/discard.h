// Taking back what a server refused: exactly those versions go, the server's take their place, newer writes stay. What
// was taken back is remembered (rejoin_discarded), so that it does not come back from another replica.
#pragma once

#include <optional>

#include "crdt/record.h"
#include "sqlite/context.h"
#include "sync/store.h"

namespace rejoin::sqlite {

// One row. False: rejoin_rejections does not list it.
Result<bool> discard(Context& ctx, const std::string& table, const std::vector<crdt::ValueRef>& key);
// All listed rows. Returns how many.
Result<int64_t> discard_all(Context& ctx);

// Is a version of the one in the other?
bool shares_versions(const crdt::RowRecord& one, const crdt::RowRecord& other);
// The record without them.
crdt::RowRecord without_versions(const crdt::RowRecord& record, const crdt::RowRecord& versions,
                                 const crdt::SiteTable& sites);

Result<bool> has_discarded(Context& ctx);
Result<std::optional<crdt::RowRecord>> discarded_versions(Context& ctx, std::string_view table, BytesView key);
// The server has these versions of the row, and never will have lower ones. `discarded` of it that are among them were
// taken after all, those below them cannot win any more: neither has to be remembered.
Status forget_discarded(Context& ctx, std::string_view table, BytesView key, const crdt::RowRecord& discarded,
                        const crdt::RowRecord& servers);
// The server has acknowledged a frame: what of it was discarded while it was on its way, and not refused, is back.
Status settle_discarded(Work& work, BytesView frame, const std::vector<sync::RefusedRow>& refused);

}  // namespace rejoin::sqlite
