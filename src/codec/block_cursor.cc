// Walks the rows of a block. Everything is checked as it is read: a row is handed out only when all of it is sound.
#include "codec/block_cursor.h"

#include <algorithm>

namespace rejoin::codec {
namespace {

using crdt::ColumnSet;
using crdt::Hlc;
using crdt::RowRecord;
using crdt::Stamp;
using crdt::ValueRef;
using crdt::ValueType;

// bytewise a < b
bool less16(const char* a, const char* b) {
  uint64_t x = load_be64(a), y = load_be64(b);
  return x != y ? x < y : load_be64(a + 8) < load_be64(b + 8);
}

}  // namespace

bool BlockCursor::Impl::map_columns(const std::vector<uint32_t>& block_columns, std::span<const uint32_t> column_map) {
  uint32_t mapped = 0;
  ids.reserve(block_columns.size());
  for (uint32_t column : block_columns) {
    uint32_t id = column < column_map.size() ? column_map[column] : kNoColumn;
    ids.push_back(id);
    if (id == kNoColumn) continue;
    if (id >= ColumnSet::kMaxColumns) return false;
    all_ids.add(id);
    ++mapped;
  }
  return all_ids.count() == mapped;  // two columns must not become one
}

bool BlockCursor::Impl::set_up(BytesView body, uint64_t base_ms) {
  ByteReader in(body);
  BlockLayout block;
  block.flags = flags;
  block.rows = rows;
  if (!read_block_streams(in, ids.size(), block)) return false;
  keys = ByteReader(block.keys);
  groups = ByteReader(block.groups);
  live = StampReader(block.live, base_ms);
  birth = StampReader(block.birth, base_ms);
  cells = StampReader(block.cells, base_ms);
  if (flags & layout::kUuidKeys) {
    key.assign(layout::kUuidKeyBytes, '\0');
    key[0] = layout::kUuidKeyTag;
    key_view = key;
  }
  values.resize(ids.size());
  size_t moving = 0, spelled = 0;
  const ByteReader columns_start = in;
  for (size_t i = 0; i < ids.size(); ++i) {
    ColumnLayout column;
    if (!read_column(in, rows, column)) return false;
    moving += !(column.mode & layout::kConstant);
    spelled += column.tag() == layout::kUuidText || column.tag() == layout::kTagged;
  }
  columns.reserve(moving);
  texts.resize(spelled * 36);
  char* text = texts.data();
  in = columns_start;
  for (size_t i = 0; i < ids.size(); ++i) {
    ColumnLayout column;
    if (!read_column(in, rows, column)) return false;
    const uint8_t tag = column.tag();
    ColumnReader reader{ColumnReader::Kind::integer,
                        static_cast<uint8_t>(column.width()),
                        ByteReader(column.numbers),
                        ByteReader(column.bytes),
                        column.tags,
                        &values[i],
                        text};
    values[i].type = tag == layout::kUuidText ? ValueType::text : static_cast<ValueType>(tag);
    if (tag == layout::kUuidText || tag == layout::kTagged) text += 36;
    if (column.mode & layout::kConstant) {
      ByteReader constant(column.constant);
      if (tag == layout::kInteger) values[i].integer = constant.signed_varint();
      if (tag == layout::kReal) values[i].real = std::bit_cast<double>(constant.be64());
      if (tag == layout::kText || tag == layout::kBlob) values[i].bytes = constant.bytes();
      if (tag == layout::kUuidText) {
        reader.bytes = constant;
        reader.read_uuid();
      }
      continue;
    }
    switch (tag) {
      case layout::kInteger:
        break;
      case layout::kReal:
        reader.kind = ColumnReader::Kind::real;
        break;
      case layout::kUuidText:
        reader.kind = ColumnReader::Kind::uuid;
        break;
      case layout::kTagged:
        reader.kind = ColumnReader::Kind::tagged;
        values[i].type = ValueType::null;
        break;
      default:
        reader.kind = ColumnReader::Kind::sized;
    }
    columns.push_back(reader);
  }
  record.alive = flags & layout::kAlive;
  if (!(flags & layout::kMixed) && !all_ids.empty()) record.groups.push_back({all_ids, Stamp{}});
  return true;
}

bool BlockCursor::Impl::next_key() {
  if (flags & layout::kUuidKeys) {
    BytesView packed = keys.take(16);
    if (!keys.ok() || (row != 0 && !less16(key.data() + 1, packed.data()))) return false;
    std::memcpy(key.data() + 1, packed.data(), 16);
    return true;
  }
  uint64_t shared = keys.varint();
  BytesView suffix = keys.bytes();
  if (!keys.ok() || shared > key.size()) return false;
  if (row != 0 && BytesView(key).substr(shared) >= suffix) return false;
  key.resize(shared);
  key.append(suffix);
  key_view = key;
  if (key.size() > budget) return false;
  budget -= key.size();
  return true;
}

// Is the stamp smaller than the row's birth?
bool BlockCursor::Impl::below_birth(const StampReader& stamp) const {
  if (!(flags & layout::kLife)) return false;
  const StampReader& born = flags & layout::kBirthIsLive ? live : birth;
  if (stamp.stamp().hlc != born.stamp().hlc) return stamp.stamp().hlc < born.stamp().hlc;
  return sites[stamp.wire_site()] < sites[born.wire_site()];
}

// A new stamp in some stream.
bool BlockCursor::Impl::next_stamps() {
  uint64_t same = rows - row - 1;  // rows after this one
  auto step = [&](StampReader& stream, bool may_be_bottom) {
    if (!stream.step(site_map, may_be_bottom)) return false;
    same = std::min(same, stream.left());
    newest = std::max(newest, stream.stamp().hlc);
    return true;
  };
  newest = 0;
  if (flags & layout::kLife) {
    if (!step(live, false)) return false;
    record.live = record.birth = live.stamp();
    if (!(flags & layout::kBirthIsLive)) {
      if (!step(birth, true)) return false;
      record.birth = birth.stamp();
    }
    if ((flags & layout::kBase) && record.birth.bottom()) return false;
  }
  if (flags & layout::kMixed) return next_mixed();
  Stamp cell = record.birth;
  if (!ids.empty() && !(flags & layout::kBase)) {
    if (!step(cells, false) || below_birth(cells)) return false;
    cell = cells.stamp();
  }
  if (!record.groups.empty()) record.groups[0].stamp = cell;
  // The streams run on together for so many rows.
  live.skip(flags & layout::kLife ? same : 0);
  birth.skip((flags & layout::kLife) && !(flags & layout::kBirthIsLive) ? same : 0);
  cells.skip(!ids.empty() && !(flags & layout::kBase) ? same : 0);
  steady = same;
  return true;
}

// The columns of a named group that the caller knows. Each column is named at most once in a row.
bool BlockCursor::Impl::read_group(ColumnSet& ids_of_group, uint64_t& seen, size_t& seen_count) {
  auto name = [&](uint64_t place) {
    ++seen_count;
    if (ids[place] != kNoColumn) ids_of_group.add(ids[place]);
  };
  if (ids.size() <= layout::kMaskColumns) {
    uint64_t mask = groups.varint();
    if (!groups.ok() || mask == 0 || (mask & seen) || (ids.size() < 64 && mask >> ids.size())) return false;
    seen |= mask;
    for (; mask; mask &= mask - 1) name(static_cast<uint64_t>(std::countr_zero(mask)));
    return true;
  }
  uint64_t n = groups.count(), next = 0;
  if (!groups.ok() || n == 0) return false;
  for (uint64_t i = 0; i < n; ++i) {
    uint64_t gap = groups.varint();
    if (!groups.ok() || gap >= ids.size() || (next += gap) >= ids.size() || named[next]) return false;
    named[next] = true;
    name(next++);
  }
  return true;
}

// A row whose cells carry several stamps.
bool BlockCursor::Impl::next_mixed() {
  record.groups.clear();
  if (ids.size() > layout::kMaskColumns) named.assign(ids.size(), false);
  uint64_t n = groups.count(), seen = 0;
  size_t seen_count = 0;
  if (!groups.ok() || n == 0 || n >= ids.size()) return false;
  ColumnSet rest = all_ids;
  auto add_group = [&](const ColumnSet& members, Stamp stamp) {
    if (!members.empty()) record.groups.push_back({members, stamp});
  };
  for (uint64_t i = 0; i <= n; ++i) {
    const bool last = i == n;
    if (last && (flags & layout::kBase)) break;
    ColumnSet columns_of_group;
    if (last) {
      columns_of_group = rest;
    } else {
      if (!read_group(columns_of_group, seen, seen_count)) return false;
      rest -= columns_of_group;
    }
    if (!cells.step(site_map, false) || below_birth(cells)) return false;
    newest = std::max(newest, cells.stamp().hlc);
    add_group(columns_of_group, cells.stamp());
  }
  if (flags & layout::kBase) add_group(rest, record.birth);
  if (seen_count >= ids.size()) return false;  // somebody must be the rest
  auto& all = record.groups;
  auto earlier = [&](const crdt::CellGroup& a, const crdt::CellGroup& b) {
    return a.columns.smallest() < b.columns.smallest();
  };
  if (all.size() == 2) {
    if (all[0].stamp == all[1].stamp) return false;  // would be one group
    if (!earlier(all[0], all[1])) std::swap(all[0], all[1]);
  } else if (all.size() > 2) {
    auto older = [](const crdt::CellGroup& a, const crdt::CellGroup& b) {
      return a.stamp.hlc != b.stamp.hlc ? a.stamp.hlc < b.stamp.hlc : a.stamp.site < b.stamp.site;
    };
    auto equal = [](const crdt::CellGroup& a, const crdt::CellGroup& b) { return a.stamp == b.stamp; };
    std::sort(all.begin(), all.end(), older);
    if (std::adjacent_find(all.begin(), all.end(), equal) != all.end()) return false;
    std::sort(all.begin(), all.end(), earlier);
  }
  return true;
}

bool BlockCursor::Impl::exhausted() const {
  for (const ColumnReader& column : columns)
    if (!column.exhausted()) return false;
  return keys.at_end() && groups.at_end() && live.exhausted() && birth.exhausted() && cells.exhausted();
}

BlockCursor::BlockCursor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BlockCursor::~BlockCursor() = default;
BlockCursor::BlockCursor(BlockCursor&&) noexcept = default;

bool BlockCursor::next() {
  Impl& c = *impl_;
  if (!c.ok) return false;
  if (c.row == c.rows) {
    c.ok = c.exhausted();
    return false;
  }
  bool good = c.next_key();
  if (c.steady)
    --c.steady;
  else
    good = good && c.next_stamps();
  for (ColumnReader& column : c.columns) good = column.read(c.row) && good;
  ++c.row;
  return c.ok = good;
}

bool BlockCursor::ok() const { return impl_->ok; }
BytesView BlockCursor::key() const { return impl_->key_view; }
std::span<const ValueRef> BlockCursor::values() const { return impl_->values; }
const RowRecord& BlockCursor::record() const { return impl_->record; }
Hlc BlockCursor::newest() const { return impl_->newest; }

}  // namespace rejoin::codec
