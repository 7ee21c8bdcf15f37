#include "sync/page_place.h"

namespace rejoin::sync {
namespace {

using codec::Cursor;

// A cursor as frames name it, so that a receiver sees which page continues which: without the horizon, which a bare log
// position does not know.
Bytes name_of(Cursor cursor) {
  if (cursor == Cursor()) return {};
  cursor.horizon = 0;
  return codec::encode_cursor(cursor);
}

// A log that ends before what an earlier page has seen, which may be one entry that was not folded yet.
bool went_back(const Cursor& place, int64_t tail) { return place.horizon > static_cast<uint64_t>(tail) + 1; }

bool is_known(const Cursor& place, std::optional<int64_t> token) {
  return static_cast<int64_t>(place.position) >= 0 && token && static_cast<uint64_t>(*token) == place.token;
}

bool is_before_all(const Cursor& place) { return place.scanning && place.position == 0 && place.token == 0; }

}  // namespace

Result<PageStart> start_page(const PageAsked& asked, int64_t tail, int64_t floor, const BatchToken& token_of) {
  const std::optional<Cursor> place = codec::decode_cursor(asked.cursor);
  if (!place)
    return fail(Code::bad_argument,
                "the cursor is malformed; use the one that the last page gave, or none to start from the beginning");
  PageStart start;
  start.cursor = start.place = *place;
  start.from_start = !place->scanning && place->position == 0;
  start.from = start.from_start ? Bytes() : name_of(*place);
  if (!start.from_start) {
    start.seen_otherwise = place->view != asked.view || asked.view_lost;
    const auto position = static_cast<int64_t>(place->position);
    REJOIN_ASSIGN(const auto token, token_of(position));
    const bool compacted = position >= 0 && position < floor && position <= tail;
    if (went_back(*place, tail) || (!compacted && !is_known(*place, token) && !is_before_all(*place))) {
      start.from_start = true;
      start.restarted = true;
      // No page that the reader has goes on with this one.
      start.from.clear();
    } else if (compacted) {
      start.from_start = true;
    }
  }
  if (start.seen_otherwise || asked.behind) {
    start.from_start = true;
    start.from.clear();
  }
  if (start.from_start) {
    start.cursor = Cursor();
    start.cursor.scanning = true;
    start.cursor.view = asked.view;
    start.cursor.own = asked.own || place->own || start.seen_otherwise || asked.behind;
    start.cursor.back = place->back;
    start.cursor.since = place->since;
    start.cursor.position = static_cast<uint64_t>(tail);
    REJOIN_ASSIGN(const auto token, token_of(tail));
    start.cursor.token = static_cast<uint64_t>(token.value_or(0));
  }
  return start;
}

bool missed_deletions(const Cursor& place, std::optional<int64_t> token, const LogState& log, bool marked) {
  const auto position = static_cast<int64_t>(place.position);
  if (position < log.purged || went_back(place, log.tail)) return true;
  if (position < log.floor && position <= log.tail) return marked;
  return !is_known(place, token) && !is_before_all(place);
}

bool is_before(BytesView cursor, int64_t purged) {
  const std::optional<Cursor> place = codec::decode_cursor(cursor);
  return place && !cursor.empty() && static_cast<int64_t>(place->position) < purged;
}

Bytes end_page(Cursor next, uint64_t through, bool more, codec::FrameInfo& info) {
  next.horizon = through < info.horizon ? info.horizon : 0;
  // Whoever has to begin the stream anew, to its very end, begins it with the same.
  if (!next.scanning && next.horizon == 0) next.own = false, next.back = next.since = 0;
  info.next = name_of(next);
  info.through = through;
  info.last = !more;
  return codec::encode_cursor(next);
}

}  // namespace rejoin::sync
