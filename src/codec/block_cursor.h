// What a cursor holds: readers for the streams of its block, and the current row.
#pragma once

#include <bit>
#include <span>
#include <vector>

#include "base/uuid.h"
#include "codec/block_layout.h"
#include "codec/changeset.h"

namespace rejoin::codec {

// Reads a stamp stream run by run.
class StampReader {
 public:
  StampReader() : in_(BytesView()) {}
  StampReader(BytesView stream, uint64_t base_ms) : in_(stream), ms_(base_ms) {}

  uint64_t left() const { return left_; }  // of the run, the current stamp not counted
  void skip(uint64_t n) { left_ -= n; }
  const crdt::Stamp& stamp() const { return stamp_; }
  uint32_t wire_site() const { return site_; }
  bool exhausted() const { return left_ == 0 && in_.at_end() && in_.ok(); }

  // The next stamp. False when the stream is damaged or at its end.
  bool step(std::span<const uint32_t> site_map, bool may_be_bottom) {
    if (left_) return --left_, true;
    uint64_t head = in_.varint();
    if (head & layout::kRunSite) {
      uint64_t site = in_.varint();
      if (site >= site_map.size()) return false;
      site_ = static_cast<uint32_t>(site);
    }
    ms_ += static_cast<uint64_t>(in_.signed_varint());
    uint64_t counter = head & layout::kRunCounter ? in_.varint() : 0;
    if (!in_.ok() || ms_ > layout::kLargestMs || counter > 0xffff) return false;
    left_ = head >> layout::kRunLengthShift;
    stamp_.hlc = ms_ << 16 | counter;
    if (stamp_.bottom()) {
      stamp_.site = 0;
      return may_be_bottom;
    }
    if (site_ >= site_map.size()) return false;
    stamp_.site = site_map[site_];
    return true;
  }

 private:
  ByteReader in_;
  uint64_t left_ = 0;
  uint64_t ms_ = 0;
  uint32_t site_ = 0;
  crdt::Stamp stamp_;
};

// Reads a column that is not constant, value by value, into the row's place for it.
struct ColumnReader {
  enum class Kind : uint8_t { integer, real, sized, uuid, tagged };
  Kind kind;
  uint8_t width;  // of packed numbers; 0: varints
  ByteReader numbers;
  ByteReader bytes;
  BytesView tags;
  crdt::ValueRef* value;
  char* text;  // where a UUID is spelled out

  uint64_t number(uint64_t row) {
    if (!width) return numbers.varint();
    // In bounds: the stream's length was made from the number of rows.
    uint64_t bit = row * width;
    return static_cast<uint8_t>(numbers.position()[bit >> 3]) >> (bit & 7) & ((1u << width) - 1);
  }

  void read_uuid() {
    value->type = crdt::ValueType::text;
    BytesView packed = bytes.take(16);
    if (!bytes.ok()) return;
    uuid_unpack(packed.data(), text);
    value->bytes = BytesView(text, 36);
  }

  bool read(uint64_t row) {
    switch (kind) {
      case Kind::integer:
        value->integer = unzigzag(number(row));
        return numbers.ok();
      case Kind::sized:
        value->bytes = bytes.take(number(row));
        return numbers.ok() && bytes.ok();
      case Kind::real:
        value->real = std::bit_cast<double>(bytes.be64());
        return bytes.ok();
      case Kind::uuid:
        read_uuid();
        return bytes.ok();
      case Kind::tagged:
        return read_tagged(row);
    }
    return false;
  }

  bool read_tagged(uint64_t row) {
    int tag = static_cast<uint8_t>(tags[row / 2]) >> (row % 2 * 4) & 15;
    *value = crdt::ValueRef();
    switch (tag) {
      case layout::kNull:
        break;
      case layout::kInteger:
        *value = crdt::ValueRef::of_integer(numbers.signed_varint());
        break;
      case layout::kReal:
        *value = crdt::ValueRef::of_real(std::bit_cast<double>(bytes.be64()));
        break;
      case layout::kText:
        *value = crdt::ValueRef::of_text(bytes.take(numbers.varint()));
        break;
      case layout::kBlob:
        *value = crdt::ValueRef::of_blob(bytes.take(numbers.varint()));
        break;
      case layout::kUuidText:
        read_uuid();
        break;
      default:
        return false;
    }
    return numbers.ok() && bytes.ok();
  }

  bool exhausted() const { return (width != 0 || numbers.at_end()) && bytes.at_end(); }
};

struct BlockCursor::Impl {
  std::span<const crdt::SiteId> sites;
  std::span<const uint32_t> site_map;
  uint8_t flags = 0;
  bool ok = true;
  uint64_t rows = 0;
  uint64_t row = 0;     // rows handed out
  uint64_t steady = 0;  // rows to come whose stamps are those of the current row
  uint64_t budget = 0;
  ByteReader keys{BytesView()};
  Bytes key;
  BytesView key_view;
  ByteReader groups{BytesView()};
  StampReader live, birth, cells;
  std::vector<uint32_t> ids;  // the caller's id of each of the block's columns
  crdt::ColumnSet all_ids;
  std::vector<crdt::ValueRef> values;
  std::vector<ColumnReader> columns;  // those that are not constant
  Bytes texts;                        // UUIDs spelled out, 36 characters for each column that may have one
  crdt::RowRecord record;
  crdt::Hlc newest = 0;
  std::vector<bool> named;  // scratch: columns that a group of the row names

  bool map_columns(const std::vector<uint32_t>& block_columns, std::span<const uint32_t> column_map);
  bool set_up(BytesView body, uint64_t base_ms);
  bool next_key();
  bool next_stamps();
  bool next_mixed();
  bool read_group(crdt::ColumnSet& ids_of_group, uint64_t& seen, size_t& seen_count);
  bool below_birth(const StampReader& stamp) const;
  bool exhausted() const;
};

}  // namespace rejoin::codec
