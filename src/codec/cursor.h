// Where a reader of a replica's changes stands. Opaque to everyone but the replica that made it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"

namespace rejoin::codec {

// Either a position in the change log with the token of the batch that holds it, or a place in a scan of all records.
struct Cursor {
  bool scanning = false;
  uint64_t position = 0;  // log: everything up to here has been read. scan: the log position at which the scan started
  uint64_t token = 0;     // random number of the batch that holds `position`; 0 at the very beginning
  uint64_t horizon = 0;   // the tail that an earlier page of the stream has seen, while it is ahead; else 0
  uint64_t table = 0;     // scan: the table's local id; rows after (table, key) come next
  Bytes key;              // log: of the entry behind `position` the rows up to this key have been read, too
  bool own = false;       // scan: what came from the asker itself is not left out
  uint64_t view = 0;      // what the reader may see, as a digest; 0: everything
  uint64_t was = 0;       // scan: the view before this one
  bool one = false;       // scan: of `table` only, which was left out before
  uint64_t back = 0;      // scan of a device: 1 + local id of a site of its server's, which may have lost what it wrote
  uint64_t since = 0;     // ... after this stamp
  std::vector<uint64_t> left_out = {};  // local ids of tables that could not be read lately, ascending
  friend bool operator==(const Cursor&, const Cursor&) = default;
};

// u8 version (1) | scanning << 7 | own << 6 | (1 << 5 if there is a view) | (1 << 4 if there was one) | one << 3 | (1
// << 2 if tables are left out) | (1 << 1 if there is `back`), varints (view, was, the number of tables and their ids,
// back and since, only if they are there), key bytes, and a 4-byte check (low half of XXH3-64), so that a mangled
// cursor is refused.
Bytes encode_cursor(const Cursor& cursor);
// An empty string is the beginning. Nothing when malformed.
std::optional<Cursor> decode_cursor(BytesView in);

}  // namespace rejoin::codec
