// Rows in, frame out. Every row goes straight into the byte streams of its block: one for keys, up to four for
// versions, three for each column. finish() only puts them one behind the other.
#include <algorithm>
#include <bit>
#include <cassert>
#include <deque>
#include <unordered_map>

#include "codec/block_streams.h"
#include "codec/changeset.h"
#include "codec/changeset_layout.h"

namespace rejoin::codec {
namespace {

using crdt::CellGroup;
using crdt::ColumnSet;
using crdt::RowRecord;
using crdt::Stamp;
using crdt::ValueRef;

bool overlap(const ColumnSet& a, const ColumnSet& b) {
  for (size_t i = 0, n = std::min(a.words(), b.words()); i < n; ++i)
    if (a.word(i) & b.word(i)) return true;
  return false;
}

uint64_t shape_hash(const ColumnSet& columns, uint8_t flags) {
  uint64_t h = flags;
  for (size_t i = 0; i < columns.words(); ++i) h = (h ^ columns.word(i)) * 0x9e3779b97f4a7c15 + (h >> 29);
  return h;
}

size_t shared_prefix(BytesView a, BytesView b) {
  size_t n = std::min(a.size(), b.size()), i = 0;
  while (i < n && a[i] == b[i]) ++i;
  return i;
}

}  // namespace

struct ChangesetWriter::Impl {
  Impl(FrameInfo frame_info, const crdt::SiteTable& table) : info(std::move(frame_info)), sites(table) {}

  FrameInfo info;
  SiteDictionary sites;
  std::vector<WireTable> tables;
  std::deque<Block> blocks;                             // a deque: blocks are pointed at
  std::unordered_map<uint64_t, Block*> blocks_by_hash;  // of the current table
  Block* current = nullptr;
  uint64_t rows = 0;
  uint64_t bytes = 0;
  uint64_t base_ms = 0;  // that of the first stamp: all streams count from here
  std::vector<const CellGroup*> named;

  Block& block(const ColumnSet& columns, uint8_t flags) {
    if (current && current->flags == flags && current->columns == columns) [[likely]]
      return *current;
    return find_block(columns, flags);
  }
  Block& find_block(const ColumnSet& columns, uint8_t flags);
  void put_groups(Block& b, const Stamp* base);
  void put_group(Block& b, const CellGroup& group);
  void put_key(Block& b, BytesView key);
  void write_block(Bytes& out, Block& b, const std::vector<uint32_t>& place, size_t used_columns, uint32_t table);
};

Block& ChangesetWriter::Impl::find_block(const ColumnSet& columns, uint8_t flags) {
  Block*& head = blocks_by_hash[shape_hash(columns, flags)];
  for (Block* b = head; b; b = b->next_of_hash)
    if (b->flags == flags && b->columns == columns) return *(current = b);
  assert(columns.end() <= tables.back().columns.size());
  Block& b = blocks.emplace_back();
  b.columns = columns;
  b.flags = flags;
  b.table = static_cast<uint32_t>(tables.size() - 1);
  b.next_of_hash = head;
  b.values.resize(columns.count());
  b.plain_ids = columns.words() == 1 && (columns.word(0) & (columns.word(0) + 1)) == 0;
  head = current = &b;
  bytes += 16 + 2 * b.values.size();
  return b;
}

// A group that is named: as a mask of the block's columns, or as a list where there are too many for a mask.
void ChangesetWriter::Impl::put_group(Block& b, const CellGroup& group) {
  size_t words = std::min(group.columns.words(), b.columns.words());
  if (b.values.size() <= layout::kMaskColumns) {
    uint64_t mask = 0;
    if (b.plain_ids) {
      mask = group.columns.word(0) & b.columns.word(0);
    } else {
      for (size_t i = 0; i < words; ++i)
        for (uint64_t w = group.columns.word(i) & b.columns.word(i); w; w &= w - 1)
          mask |= uint64_t{1} << b.place(static_cast<uint32_t>(64 * i) + static_cast<uint32_t>(std::countr_zero(w)));
    }
    bytes += b.groups.varint(mask);
    return;
  }
  uint32_t n = 0;
  for (size_t i = 0; i < words; ++i)
    n += static_cast<uint32_t>(std::popcount(group.columns.word(i) & b.columns.word(i)));
  bytes += b.groups.varint(n);
  uint32_t next = 0;
  for (size_t i = 0; i < words; ++i)
    for (uint64_t w = group.columns.word(i) & b.columns.word(i); w; w &= w - 1) {
      uint32_t at = b.place(static_cast<uint32_t>(64 * i) + static_cast<uint32_t>(std::countr_zero(w)));
      bytes += b.groups.varint(at - next);
      next = at + 1;
    }
}

// The cells of a row of several stamps. The columns of `base` need not be named; without a base those of the last group
// need not.
void ChangesetWriter::Impl::put_groups(Block& b, const Stamp* base) {
  size_t spelled = named.size() - (base ? 0 : 1);
  bytes += b.groups.varint(spelled);
  for (size_t i = 0; i < named.size(); ++i) {
    if (i < spelled) put_group(b, *named[i]);
    b.cells.add(named[i]->stamp, sites, base_ms);
    bytes += 4;
  }
}

void ChangesetWriter::Impl::put_key(Block& b, BytesView key) {
  if (b.flags & layout::kUuidKeys) {
    b.keys.sixteen(key.data() + 1);
    bytes += 16;
    return;
  }
  size_t shared = shared_prefix(b.last_key, key);
  bytes += b.keys.varint(shared);
  bytes += b.keys.varint(key.size() - shared);
  b.keys.append(key.substr(shared));
  bytes += key.size() - shared;
  b.last_key.assign(key);
}

ChangesetWriter::ChangesetWriter(FrameInfo info, const crdt::SiteTable& sites)
    : impl_(std::make_unique<Impl>(std::move(info), sites)) {}
ChangesetWriter::~ChangesetWriter() = default;

void ChangesetWriter::begin_table(const WireTable& table) {
  impl_->tables.push_back(table);
  impl_->blocks_by_hash.clear();
  impl_->current = nullptr;
}

void ChangesetWriter::add(BytesView key, const RowRecord& record, const ColumnSet& columns, bool with_life,
                          std::span<const ValueRef> values) {
  Impl& w = *impl_;
  assert(!w.tables.empty() && values.size() == columns.count());
  uint8_t flags = 0;
  const bool life = with_life && !record.live.bottom();
  if (life) {
    flags =
        layout::kLife | (record.alive ? layout::kAlive : 0) | (record.birth == record.live ? layout::kBirthIsLive : 0);
  } else if (values.empty()) {
    return;  // nothing to say about the row
  }
  if (key.size() == layout::kUuidKeyBytes && key[0] == layout::kUuidKeyTag) flags |= layout::kUuidKeys;

  Stamp cell;                   // of all cells, unless mixed or base
  const Stamp* base = nullptr;  // the birth's stamp, if cells carry it
  if (!values.empty()) {
    if (record.groups.size() == 1) [[likely]] {
      cell = record.groups[0].stamp;
      if (life && cell == record.birth) base = &record.birth;
    } else {
      w.named.clear();
      for (const CellGroup& group : record.groups) {
        if (!overlap(group.columns, columns)) continue;
        if (life && group.stamp == record.birth)
          base = &record.birth;
        else
          w.named.push_back(&group);
      }
      if (w.named.size() + (base ? 1 : 0) > 1)
        flags |= layout::kMixed;
      else if (!base && !w.named.empty())
        cell = w.named[0]->stamp;
    }
    if (base) flags |= layout::kBase;
    assert(base || (flags & layout::kMixed) || !cell.bottom());
  }

  Block& b = w.block(columns, flags);
  if (w.rows == 0)
    w.base_ms = (life ? record.live : record.groups.empty() ? Stamp{} : record.groups[0].stamp).hlc >> 16;
  w.put_key(b, key);
  if (life) {
    b.live.add(record.live, w.sites, w.base_ms);
    if (!(flags & layout::kBirthIsLive)) b.birth.add(record.birth, w.sites, w.base_ms), w.bytes += 2;
  }
  if (flags & layout::kMixed)
    w.put_groups(b, base);
  else if (!values.empty() && !base)
    b.cells.add(cell, w.sites, w.base_ms);
  size_t added = 0;
  for (size_t i = 0; i < values.size(); ++i) added += b.values[i].add(values[i], b.rows);
  w.bytes += added;
  ++b.rows;
  ++w.rows;
}

uint64_t ChangesetWriter::rows() const { return impl_->rows; }
uint64_t ChangesetWriter::bytes() const { return impl_->bytes; }
FrameInfo& ChangesetWriter::info() { return impl_->info; }

void ChangesetWriter::Impl::write_block(Bytes& out, Block& b, const std::vector<uint32_t>& place, size_t used_columns,
                                        uint32_t table) {
  bool all = b.values.size() == used_columns;
  put_varint(out, table);
  put_u8(out, b.flags | (all ? layout::kAllColumns : 0));
  if (!all) {
    put_varint(out, b.values.size());
    uint32_t next = 0;
    b.columns.each([&](uint32_t column) {
      put_varint(out, place[column] - next);
      next = place[column] + 1;
    });
  }
  put_varint(out, b.rows);
  if (b.flags & layout::kUuidKeys)
    out.append(b.keys.view());
  else
    put_bytes(out, b.keys.view());
  if (b.flags & layout::kLife) {
    put_bytes(out, b.live.finish(sites, base_ms));
    if (!(b.flags & layout::kBirthIsLive)) put_bytes(out, b.birth.finish(sites, base_ms));
  }
  if (b.flags & layout::kMixed) put_bytes(out, b.groups.view());
  if ((b.flags & layout::kMixed) || (!b.values.empty() && !(b.flags & layout::kBase)))
    put_bytes(out, b.cells.finish(sites, base_ms));
  for (const ColumnStream& column : b.values) column.write(out, b.rows);
}

Bytes ChangesetWriter::finish() {
  Impl& w = *impl_;
  // Only what occurs is written: tables with rows, and of those the columns that some block has.
  std::vector<ColumnSet> used(w.tables.size());
  std::vector<uint32_t> table_index(w.tables.size(), kUnseen);
  uint32_t tables = 0;
  size_t bound = 128 + w.info.from.size() + w.info.next.size();
  for (Block& b : w.blocks) {
    if (table_index[b.table] == kUnseen) table_index[b.table] = tables++;
    b.columns.each([&](uint32_t column) { used[b.table].add(column); });
    // Closing the last runs now completes the site dictionary.
    bound += 64 + 10 * b.values.size() + b.keys.size() + b.groups.size() + b.live.finish(w.sites, w.base_ms).size() +
             b.birth.finish(w.sites, w.base_ms).size() + b.cells.finish(w.sites, w.base_ms).size();
    for (const ColumnStream& column : b.values) bound += column.bound();
  }
  bound += 16 * w.sites.size();
  std::vector<std::vector<uint32_t>> place(w.tables.size());  // of a table's column among its used ones
  for (size_t t = 0; t < w.tables.size(); ++t) {
    if (table_index[t] == kUnseen) continue;
    uint32_t n = 0;
    place[t].resize(used[t].end());
    used[t].each([&](uint32_t column) { place[t][column] = n++; });
    bound += 40 + w.tables[t].name.size();
    for (const std::string& name : w.tables[t].key) bound += 10 + name.size();
    for (const std::string& name : w.tables[t].columns) bound += 10 + name.size();
  }

  Bytes out;
  out.reserve(bound);
  out.append(layout::kMagic);
  put_u8(out, 0);
  out.append(w.info.source.view());
  put_bytes(out, w.info.from);
  put_bytes(out, w.info.next);
  put_varint(out, w.info.through);
  put_varint(out, w.info.horizon);
  put_u8(out, (w.info.starts_batch ? layout::kStartsBatch : 0) | (w.info.last ? layout::kLast : 0));
  put_varint(out, w.base_ms);
  put_varint(out, w.sites.size());
  for (size_t i = 0; i < w.sites.size(); ++i) out.append(w.sites[i].view());
  put_varint(out, tables);
  for (size_t t = 0; t < w.tables.size(); ++t) {
    if (table_index[t] == kUnseen) continue;
    const WireTable& table = w.tables[t];
    put_bytes(out, table.name);
    put_varint(out, table.key.size());
    for (const std::string& name : table.key) put_bytes(out, name);
    put_varint(out, used[t].count());
    used[t].each([&](uint32_t column) { put_bytes(out, table.columns[column]); });
  }
  put_varint(out, w.blocks.size());
  for (Block& b : w.blocks) w.write_block(out, b, place[b.table], used[b.table].count(), table_index[b.table]);
  put_be64(out, layout::checksum(out));
  return out;
}

}  // namespace rejoin::codec
