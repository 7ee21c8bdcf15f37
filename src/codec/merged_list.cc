#include "codec/merged_list.h"

namespace rejoin::codec {

namespace {
constexpr uint8_t kLife = 1, kWhole = 2, kAnnounced = 4;
}

void MergedListWriter::add(BytesView key, bool life, bool whole, const crdt::ColumnSet& columns) {
  add(key, static_cast<uint8_t>((life ? kLife : 0) | (whole ? kWhole : 0)), columns);
}

void MergedListWriter::announce(BytesView key) { add(key, kLife | kWhole | kAnnounced, {}); }

void MergedListWriter::add(BytesView key, uint8_t flags, const crdt::ColumnSet& columns) {
  put_bytes(body_, key);
  put_u8(body_, flags);
  if ((flags & kWhole) || columns.empty()) {
    put_varint(body_, 0);
  } else {
    put_varint(body_, columns.words());
    for (size_t i = 0; i < columns.words(); ++i) put_varint(body_, columns.word(i));
  }
  ++rows_;
}

Bytes MergedListWriter::finish() {
  Bytes out;
  out.reserve(body_.size() + 10);
  put_varint(out, rows_);
  out += body_;
  body_.clear();
  rows_ = 0;
  return out;
}

bool MergedListReader::next() {
  if (left_ == 0 || !in_.ok()) return false;
  --left_;
  key = in_.bytes();
  uint8_t flags = in_.u8();
  life = flags & kLife;
  whole = flags & kWhole;
  announced = flags & kAnnounced;
  columns.clear();
  uint64_t words = in_.count();
  for (uint64_t i = 0; i < words; ++i) columns.set_word(i, in_.varint());
  return in_.ok();
}

}  // namespace rejoin::codec
