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

}  // namespace

Result<PageStart> start_page(BytesView cursor, int64_t tail, int64_t floor, const BatchToken& token_of) {
  const std::optional<Cursor> asked = codec::decode_cursor(cursor);
  if (!asked)
    return fail(Code::bad_argument,
                "the cursor is malformed; use the one that the last page gave, or none to start from the beginning");
  PageStart start;
  start.cursor = *asked;
  start.from_start = !asked->scanning && asked->position == 0;
  start.from = start.from_start ? Bytes() : name_of(*asked);
  if (!start.from_start) {
    const auto position = static_cast<int64_t>(asked->position);
    REJOIN_ASSIGN(const auto token, token_of(position));
    const bool known = position >= 0 && token && static_cast<uint64_t>(*token) == asked->token;
    if (position >= 0 && position < floor && position <= tail) {
      start.from_start = true;  // compacted away
    } else if (!known && !(asked->scanning && position == 0 && asked->token == 0)) {
      start.from_start = true;
      start.restarted = true;
    }
  }
  if (start.from_start) {
    start.cursor = Cursor();
    start.cursor.scanning = true;
    start.cursor.position = static_cast<uint64_t>(tail);
    REJOIN_ASSIGN(const auto token, token_of(tail));
    start.cursor.token = static_cast<uint64_t>(token.value_or(0));
  }
  return start;
}

Bytes end_page(Cursor next, uint64_t through, bool more, codec::FrameInfo& info) {
  next.horizon = through < info.horizon ? info.horizon : 0;
  info.next = name_of(next);
  info.through = through;
  info.last = !more;
  return codec::encode_cursor(next);
}

}  // namespace rejoin::sync
