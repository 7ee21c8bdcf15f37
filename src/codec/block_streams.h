// The byte streams that a block's rows are written to: keys, versions, and one group of streams for each column.
#pragma once

#include <algorithm>
#include <bit>
#include <vector>

#include "base/uuid.h"
#include "codec/buffer.h"
#include "codec/changeset_layout.h"
#include "crdt/column_set.h"
#include "crdt/value.h"
#include "crdt/version.h"

namespace rejoin::codec {

inline constexpr uint32_t kUnseen = ~uint32_t{0};

// The sites that occur, numbered for the frame in order of first use.
class SiteDictionary {
 public:
  explicit SiteDictionary(const crdt::SiteTable& sites) : sites_(sites) {}
  uint32_t index_of(uint32_t site) {
    if (site >= wire_.size()) wire_.resize(site + 1, kUnseen);
    if (wire_[site] == kUnseen) {
      wire_[site] = static_cast<uint32_t>(used_.size());
      used_.push_back(site);
    }
    return wire_[site];
  }
  size_t size() const { return used_.size(); }
  const crdt::SiteId& operator[](size_t i) const { return sites_[used_[i]]; }

 private:
  const crdt::SiteTable& sites_;
  std::vector<uint32_t> wire_;
  std::vector<uint32_t> used_;
};

// Run-length coded stamps.
class StampStream {
 public:
  void add(crdt::Stamp stamp, SiteDictionary& sites, uint64_t base_ms) {
    if (stamp == current_ && count_ != 0) {
      ++count_;
      return;
    }
    end_run(sites, base_ms);
    current_ = stamp;
    count_ = 1;
  }
  // Closes the last run.
  BytesView finish(SiteDictionary& sites, uint64_t base_ms) {
    end_run(sites, base_ms);
    count_ = 0;
    return out_.view();
  }

 private:
  void end_run(SiteDictionary& sites, uint64_t base_ms) {
    if (count_ == 0) return;
    if (!started_) ms_ = base_ms, started_ = true;
    // A bottom stamp has no site.
    uint32_t site = current_.bottom() ? site_ : sites.index_of(current_.site);
    uint64_t ms = current_.hlc >> 16, counter = current_.hlc & 0xffff;
    out_.varint((count_ - 1) << layout::kRunLengthShift | (site != site_ ? layout::kRunSite : 0) |
                (counter ? layout::kRunCounter : 0));
    if (site != site_) out_.varint(site);
    out_.varint(zigzag(static_cast<int64_t>(ms - ms_)));
    if (counter) out_.varint(counter);
    site_ = site, ms_ = ms;
  }

  Buffer out_;
  crdt::Stamp current_;
  uint64_t count_ = 0;
  uint64_t ms_ = 0;
  uint32_t site_ = 0;
  bool started_ = false;
};

// The values of one column of one block. Starts as a constant, becomes a column of one type, then one of tagged values,
// as the rows demand it.
class ColumnStream {
 public:
  // `row`: how many rows came before. Returns about how many bytes were added.
  size_t add(const crdt::ValueRef& v, uint64_t row) {
    char uuid[16];
    uint8_t tag = static_cast<uint8_t>(v.type);
    if (tag == layout::kText && v.bytes.size() == 36 && uuid_pack(v.bytes, uuid)) tag = layout::kUuidText;
    if (state_ == kUniform && tag == tag_) [[likely]]
      return put(tag, v, uuid);
    return add_otherwise(tag, v, uuid, row);
  }

  size_t bound() const { return 40 + tags_.size() + numbers_.size() + bytes_.size(); }

  void write(Bytes& out, uint64_t rows) const {
    if (state_ == kTagged) return write_tagged(out, rows);
    if (state_ == kConstant && bytes_.size() <= layout::kLongestConstant) {
      put_u8(out, tag_ | layout::kConstant);
      out.append(numbers_.view());
      out.append(bytes_.view());
      return;
    }
    bool numbered = tag_ == layout::kInteger || tag_ == layout::kText || tag_ == layout::kBlob;
    int width = !numbered || largest_ >= 16 ? 0 : largest_ >= 4 ? 3 : largest_ >= 2 ? 2 : 1;
    put_u8(out, static_cast<uint8_t>(tag_ | width << layout::kWidthShift));
    if (width)
      pack(out, 1 << (width - 1));
    else if (numbered)
      put_bytes(out, numbers_.view());
    if (tag_ == layout::kText || tag_ == layout::kBlob)
      put_bytes(out, bytes_.view());
    else
      out.append(bytes_.view());
  }

 private:
  enum State : uint8_t { kConstant, kUniform, kTagged };

  [[gnu::noinline]] size_t add_otherwise(uint8_t tag, const crdt::ValueRef& v, const char* uuid, uint64_t row) {
    if (row == 0) {
      tag_ = tag;
      return put(tag, v, uuid) + 1;
    }
    if (state_ == kConstant) {
      // What is all the same and short costs nothing.
      if (tag == tag_ && bytes_.size() <= layout::kLongestConstant && same_as_first(v, uuid)) return 0;
      repeat_first(row - 1);
      state_ = kUniform;
    }
    if (state_ == kUniform) {
      if (tag == tag_) return put(tag, v, uuid);
      for (uint64_t i = 0; i < row; ++i) tags_.u8(tag_);
      state_ = kTagged;
    }
    tags_.u8(tag);
    return put(tag, v, uuid) + 1;
  }

  [[gnu::always_inline]] size_t put(uint8_t tag, const crdt::ValueRef& v, const char* uuid) {
    switch (tag) {
      case layout::kInteger: {
        uint64_t z = zigzag(v.integer);
        largest_ |= z;
        return numbers_.varint(z);
      }
      case layout::kReal:
        bytes_.be64(std::bit_cast<uint64_t>(v.real));
        return 8;
      case layout::kText:
      case layout::kBlob: {
        largest_ |= v.bytes.size();
        size_t n = numbers_.varint(v.bytes.size());
        bytes_.append(v.bytes);
        return n + v.bytes.size();
      }
      case layout::kUuidText:
        bytes_.sixteen(uuid);
        return 16;
      default:
        return 0;
    }
  }

  // The first value stands in the streams as put() left it.
  bool same_as_first(const crdt::ValueRef& v, const char* uuid) const {
    switch (tag_) {
      case layout::kInteger: {
        ByteReader first(numbers_.view());
        return first.varint() == zigzag(v.integer);
      }
      case layout::kReal:
        return load_be64(bytes_.view().data()) == std::bit_cast<uint64_t>(v.real);
      case layout::kText:
      case layout::kBlob:
        return bytes_.view() == v.bytes;
      case layout::kUuidText:
        return bytes_.view() == BytesView(uuid, 16);
      default:
        return true;
    }
  }

  void repeat_first(uint64_t times) {
    Bytes number(numbers_.view()), bytes(bytes_.view());
    for (uint64_t i = 0; i < times; ++i) numbers_.append(number), bytes_.append(bytes);
  }

  void write_tagged(Bytes& out, uint64_t rows) const {
    put_u8(out, layout::kTagged);
    BytesView tags = tags_.view();
    for (uint64_t i = 0; i < rows; i += 2)
      put_u8(out, static_cast<uint8_t>(tags[i] | (i + 1 < rows ? tags[i + 1] << 4 : 0)));
    put_bytes(out, numbers_.view());
    put_bytes(out, bytes_.view());
  }

  // All numbers are below 16, so each is one byte of the stream.
  void pack(Bytes& out, int width) const {
    BytesView numbers = numbers_.view();
    int at = 0, byte = 0;
    for (char number : numbers) {
      byte |= number << at;
      at += width;
      if (at == 8) put_u8(out, static_cast<uint8_t>(byte)), at = byte = 0;
    }
    if (at) put_u8(out, static_cast<uint8_t>(byte));
  }

  State state_ = kConstant;
  uint8_t tag_ = 0;
  uint64_t largest_ = 0;  // of the numbers; all their bits or-ed, which has the same bit width
  Buffer tags_;
  Buffer numbers_;  // zigzag integers, lengths
  Buffer bytes_;    // reals, texts, blobs, UUIDs
};

// Rows of one table and one shape.
struct Block {
  crdt::ColumnSet columns;
  uint8_t flags = 0;
  uint32_t table = 0;
  Block* next_of_hash = nullptr;
  uint64_t rows = 0;
  bool plain_ids = false;  // columns are 0..n-1 with n <= 64: a column's place in the block is its id
  Bytes last_key;          // unless kUuidKeys
  Buffer keys;
  Buffer groups;
  StampStream live, birth, cells;
  std::vector<ColumnStream> values;

  // The place of `column`, a member, among the block's columns.
  uint32_t place(uint32_t column) const {
    int n = 0;
    for (size_t w = 0; w < column / 64; ++w) n += std::popcount(columns.word(w));
    return static_cast<uint32_t>(n + std::popcount(columns.word(column / 64) & ((uint64_t{1} << column % 64) - 1)));
  }
};

}  // namespace rejoin::codec
