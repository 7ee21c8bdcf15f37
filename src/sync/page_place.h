// Where a page of changes starts and ends in its source's log: what a cursor means to a store. docs/protocol.md,
// "Pulling".
#pragma once

#include <functional>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "codec/changeset.h"
#include "codec/cursor.h"

namespace rejoin::sync {

// The token of the batch that holds a log position; nothing when no batch does (the log is shorter than that).
using BatchToken = std::function<Result<std::optional<int64_t>>(int64_t position)>;

// What a reader asks for.
struct PageAsked {
  BytesView cursor;
  uint64_t view = 0;       // what it may see now, as a digest; 0: everything
  bool view_lost = false;  // it is not known here (any more) what such a reader was given
  bool own = false;        // a scan brings it its own writes too
  bool behind = false;     // it has missed deletions that are forgotten here: only a scan of all says what is left
};

struct PageStart {
  codec::Cursor place;          // where the reader stood
  codec::Cursor cursor;         // where to read on: in the log, or in a scan of the records
  Bytes from;                   // how the frame names the reader's place
  bool from_start = false;      // a scan begins with this page
  bool restarted = false;       // ... because the reader's place is not known here (any more)
  bool seen_otherwise = false;  // ... because it may see something else than before
};

// `tail`: the newest log position; up to `floor` positions may be gone, and the records tell what the log forgot.
// Errors: bad_argument (nobody made this cursor).
Result<PageStart> start_page(const PageAsked& asked, int64_t tail, int64_t floor, const BatchToken& token_of);

// Has a reader that stands at this place missed deletions that its store has forgotten? `token`: of the batch that
// holds the position; `purged`: whoever stands before this position may have; `marked`: the store has noted so of the
// device, which tells of a place that was compacted away. A place that the store never gave out is another history's:
// what was deleted in this one its reader has not heard.
struct LogState {
  int64_t tail = 0, floor = 0, purged = 0;
};
bool missed_deletions(const codec::Cursor& place, std::optional<int64_t> token, const LogState& log, bool marked);
// Does a cursor, but none at all, stand before this position?
bool is_before(BytesView cursor, int64_t purged);

// Ends a page that has brought everything up to `through`, with `next` as the reader's place; `info` has the horizon.
// The cursor for the next page. Pages belong to one stream until they reach the tail that it has seen.
Bytes end_page(codec::Cursor next, uint64_t through, bool more, codec::FrameInfo& info);

}  // namespace rejoin::sync
