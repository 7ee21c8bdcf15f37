// rejoin_rejections: rows that a server did not take, one line each, until it takes them. A server that has refused a
// row has nothing of it: the next push of the row carries all of it, and all are pushed again when what the server
// accepts changes.
#pragma once

#include "sqlite/context.h"
#include "sync/store.h"

namespace rejoin::sqlite {

// `held`: a part of the row stays here although the rest was sent; the row is listed until release_rejection().
Status note_rejections(Context& ctx, const std::vector<sync::RefusedRow>& rows, bool held = false);
Status release_rejection(Context& ctx, std::string_view table, BytesView key);
Result<bool> has_rejections(Context& ctx);
Result<bool> is_rejected(Context& ctx, std::string_view table, BytesView key);
// The server has taken what is in this frame: its rows are not listed any more.
Status forget_rejections(Context& ctx, BytesView frame);
// Puts all listed rows into the feed again, as this replica's own news. Returns how many. Everything must have been
// folded.
Result<int64_t> retry_rejections(Work& work);
// The same for rows that a database's own constraints refused, and that have not been tried for a while: what they lack
// (a parent, a free unique value) may be there by now.
Result<int64_t> retry_due_rejections(Work& work);

}  // namespace rejoin::sqlite
