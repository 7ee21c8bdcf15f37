// Extraction: pages of changes as frames, read in one snapshot.
#pragma once

#include "codec/changeset.h"
#include "sqlite/context.h"
#include "sqlite/replica.h"
#include "sync/page_place.h"

namespace rejoin::sqlite {

// A table as frames name it.
codec::WireTable wire_table(const Table& table);
Result<Page> extract_page(Context& ctx, const PageRequest& request);
// The same inside a transaction that the caller holds, with everything folded.
Result<Page> extract_page_in(Work& work, const PageRequest& request);
// A transaction in which everything is folded: a snapshot if it was already, else a write transaction.
// Error in_transaction inside a transaction with uncommitted (or unfolded) writes.
Result<Work> begin_export(Context& ctx);
// A cursor at a log position: at its batch's token. Positions beyond the tail mean the tail; up to 0, the beginning.
// `from_whole_batch`: a position inside a batch means the batch's beginning, so that what follows stands by itself.
Result<Bytes> cursor_at_position(Work& work, int64_t position, bool from_whole_batch);
// Where a reader with this cursor stands, with everything folded.
Result<sync::PageStart> place_of(Work& work, BytesView cursor);

}  // namespace rejoin::sqlite
