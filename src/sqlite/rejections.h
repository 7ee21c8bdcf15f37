// rejoin_rejections: rows that a server did not take, one line each, until it takes them. A server that has refused a
// row has nothing of it: the next push of the row carries all of it, and all are pushed again when what the server
// accepts changes.
#pragma once

#include <map>

#include "crdt/record.h"
#include "sqlite/context.h"
#include "sync/store.h"

namespace rejoin::sqlite {

// What beside its own writes a device pushed.
struct Relayed {
  bool all = false;                          // everybody's
  std::optional<uint32_t> site = {};         // this site's: the server's, to which it went back
  std::optional<crdt::Hlc> lost_since = {};  // what the server has lost after a restore is stamped later
};
// Rows of a frame that a server has refused. `frame`: what was pushed last. Rows of which nothing that was refused is
// here any more, because it was discarded while it was on its way, are not listed; nor are those that only went back to
// the server and that this device may not write, or of which the server says that they may have been deleted.
Status note_refused(Work& work, const std::vector<sync::RefusedRow>& rows, BytesView frame, const Relayed& relayed);
// Rows that were not sent whole: values above `max_value_bytes` stay here although the rest goes; the row is listed
// until release_rejection().
Status note_held(Work& work, const std::vector<sync::RefusedRow>& rows, uint64_t max_value_bytes);
// Rows of a server's that were not taken here.
Status note_not_taken(Context& ctx, const std::vector<sync::RefusedRow>& rows);
// A row leaves as one that the server has forgotten as deleted up to `horizon`, and has taken edits of it that were
// made here since, for it had them from elsewhere before. `none`: what it has of the row.
Status note_edits_of_forgotten(Context& ctx, const Table& table, BytesView key, const crdt::RowRecord& edits,
                               crdt::Hlc horizon, const Bytes& none);
Status release_rejection(Context& ctx, std::string_view table, BytesView key);
Result<bool> has_rejections(Context& ctx);
Result<bool> is_rejected(Context& ctx, std::string_view table, BytesView key);
// What was refused of a row; a record without versions when it is listed for something else. Nothing: it is not listed.
Result<std::optional<crdt::RowRecord>> refused_versions(Context& ctx, std::string_view table, BytesView key);
// The server has taken what is in this frame: its rows are not listed any more.
Status forget_rejections(Context& ctx, BytesView frame);
// What the server said of a listed row (read_told); empty: nothing, or the row is not listed.
Result<Bytes> told_frame(Context& ctx, const Table& table, BytesView key);
// News of a listed row from the server that refused it: what it is said to have follows.
Status follow_server(Context& ctx, const Table& table, BytesView key, const crdt::RowRecord& news,
                     const std::map<uint32_t, crdt::ValueRef>& values);
// Puts all listed rows into the feed again, as this replica's own news. Returns how many. Everything must have been
// folded.
Result<int64_t> retry_rejections(Work& work);
// The same for rows that a database's own constraints refused, and that have not been tried for a while: what they lack
// (a parent, a free unique value) may be there by now.
Result<int64_t> retry_due_rejections(Work& work);

}  // namespace rejoin::sqlite
