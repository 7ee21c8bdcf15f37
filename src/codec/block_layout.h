// Finds the byte streams of a block without reading them. Used twice: when a frame is opened, to refuse a malformed
// block, and when a cursor is made for it.
#pragma once

#include "base/bytes.h"
#include "codec/changeset_layout.h"

namespace rejoin::codec {

// One column's streams, found but not read.
struct ColumnLayout {
  uint8_t mode = 0;
  BytesView constant, tags, numbers, bytes;
  uint8_t tag() const { return mode & layout::kTypeMask; }
  int width() const {
    int code = mode >> layout::kWidthShift;
    return code ? 1 << (code - 1) : 0;
  }
};

// One block's streams, found but not read. The columns follow `columns_at`.
struct BlockLayout {
  uint8_t flags = 0;
  uint64_t rows = 0;
  BytesView keys, live, birth, groups, cells;
};

// Do these flags make sense for a block of so many columns?
bool sensible_flags(uint8_t flags, size_t columns);
// Reads the streams between a block's row count and its columns. False when malformed.
bool read_block_streams(ByteReader& in, size_t columns, BlockLayout& block);
// Reads one column and leaves `in` behind it. False when malformed; a constant's encoding is checked too. `rows` must
// not be more than the bytes of the block's keys (read_block_streams has checked that), so that products with it don't
// overflow.
bool read_column(ByteReader& in, uint64_t rows, ColumnLayout& column);

}  // namespace rejoin::codec
