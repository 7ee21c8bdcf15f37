#include "codec/block_layout.h"

namespace rejoin::codec {

bool read_column(ByteReader& in, uint64_t rows, ColumnLayout& column) {
  column.mode = in.u8();
  const uint8_t tag = column.tag();
  if (!in.ok() || (column.mode & ~layout::kKnownColumn)) return false;
  if (tag == layout::kTagged) {
    if (column.mode != layout::kTagged) return false;
    column.tags = in.take((rows + 1) / 2);
    column.numbers = in.bytes();
    column.bytes = in.bytes();
    return in.ok();
  }
  if (tag > layout::kUuidText) return false;
  const bool sized = tag == layout::kText || tag == layout::kBlob;
  if (column.mode & layout::kConstant) {
    if (column.mode != (tag | layout::kConstant)) return false;
    const char* start = in.position();
    if (tag == layout::kInteger) in.varint();
    if (tag == layout::kReal) in.take(8);
    if (tag == layout::kUuidText) in.take(16);
    if (sized && in.bytes().size() > layout::kLongestConstant) return false;
    column.constant = BytesView(start, static_cast<size_t>(in.position() - start));
    return in.ok();
  }
  if (tag == layout::kNull) return false;  // is a constant
  if (column.width()) {
    if (!sized && tag != layout::kInteger) return false;
    column.numbers = in.take((rows * static_cast<uint64_t>(column.width()) + 7) / 8);
  } else if (sized || tag == layout::kInteger) {
    column.numbers = in.bytes();
  }
  if (sized) column.bytes = in.bytes();
  if (tag == layout::kReal) column.bytes = in.take(rows * 8);
  if (tag == layout::kUuidText) column.bytes = in.take(rows * 16);
  return in.ok();
}

// The streams between a block's row count and its columns.
bool read_block_streams(ByteReader& in, size_t columns, BlockLayout& block) {
  if (block.flags & layout::kUuidKeys) {
    if (block.rows > in.left() / 16) return false;
    block.keys = in.take(block.rows * 16);
  } else {
    block.keys = in.bytes();
    if (block.rows > block.keys.size() / 2) return false;  // two lengths of a byte at least
  }
  if (block.flags & layout::kLife) {
    block.live = in.bytes();
    if (!(block.flags & layout::kBirthIsLive)) block.birth = in.bytes();
  }
  if (block.flags & layout::kMixed) block.groups = in.bytes();
  if ((block.flags & layout::kMixed) || (columns && !(block.flags & layout::kBase))) block.cells = in.bytes();
  return in.ok();
}

bool sensible_flags(uint8_t flags, size_t columns) {
  if (flags & ~layout::kKnownBlock) return false;
  if (!(flags & layout::kLife) && (flags & (layout::kAlive | layout::kBirthIsLive | layout::kBase))) return false;
  if (columns == 0 && (!(flags & layout::kLife) || (flags & (layout::kBase | layout::kMixed)))) return false;
  return !(flags & layout::kMixed) || columns > 1;
}

}  // namespace rejoin::codec
