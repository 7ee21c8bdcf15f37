// Frame in, rows out. open() checks the checksum and everything that stands once in a frame or block; a cursor checks
// the rows as it walks them. Nothing is allocated before the bytes that ask for it have been counted.
#include <algorithm>

#include "codec/block_cursor.h"
#include "codec/changeset.h"
#include "codec/changeset_layout.h"

namespace rejoin::codec {
namespace {

using crdt::SiteId;

Error damaged(std::string what) { return fail(Code::corrupt, "changeset refused: " + std::move(what)); }

Error above(const char* what, uint64_t have, uint64_t limit) {
  return fail(Code::too_large, std::string("changeset refused: ") + what + " " + std::to_string(have) +
                                   ", the limit is " + std::to_string(limit));
}

}  // namespace

struct ChangesetReader::Impl {
  FrameInfo info;
  uint64_t base_ms = 0;
  uint64_t budget = 0;  // how many bytes the keys of a block may spell out
  std::vector<SiteId> sites;
  std::vector<WireTable> tables;
  std::vector<BlockInfo> blocks;
  struct Place {
    uint8_t flags;
    BytesView body;  // from the keys on
  };
  std::vector<Place> places;

  Status read_info(ByteReader& in);
  Status read_sites(ByteReader& in, const Limits& limits);
  Status read_tables(ByteReader& in, const Limits& limits);
  Status read_names(ByteReader& in, const Limits& limits, const char* what, std::vector<std::string>& names);
  Status read_blocks(ByteReader& in, const Limits& limits);
};

Status ChangesetReader::Impl::read_info(ByteReader& in) {
  BytesView source = in.take(16);
  info.from = in.bytes();
  info.next = in.bytes();
  info.through = in.varint();
  info.horizon = in.varint();
  uint8_t bits = in.u8();
  base_ms = in.varint();
  if (!in.ok()) return damaged("its header is cut short");
  if (bits & ~layout::kKnownInfo)
    return fail(Code::unsupported, "changeset refused: its header has bits that this build does not know");
  if (base_ms > layout::kLargestMs) return damaged("its clock base is out of range");
  info.source = SiteId::from(source);
  info.starts_batch = bits & layout::kStartsBatch;
  info.last = bits & layout::kLast;
  return {};
}

Status ChangesetReader::Impl::read_sites(ByteReader& in, const Limits& limits) {
  uint64_t n = in.count(16);
  if (!in.ok()) return damaged("its site dictionary is cut short");
  if (n > limits.sites) return above("sites", n, limits.sites);
  sites.reserve(n);
  for (uint64_t i = 0; i < n; ++i) sites.push_back(SiteId::from(in.take(16)));
  return {};
}

// Names that differ, without NUL.
Status ChangesetReader::Impl::read_names(ByteReader& in, const Limits& limits, const char* what,
                                         std::vector<std::string>& names) {
  uint64_t n = in.count();
  if (!in.ok()) return damaged("its table dictionary is cut short");
  if (n > limits.columns) return above(what, n, limits.columns);
  std::vector<BytesView> sorted;
  sorted.reserve(n);
  for (uint64_t i = 0; i < n; ++i) {
    BytesView name = in.bytes();
    if (!in.ok()) return damaged("its table dictionary is cut short");
    if (name.size() > limits.name_bytes) return above("bytes of a name", name.size(), limits.name_bytes);
    if (name.find('\0') != BytesView::npos) return damaged("a name holds a NUL character");
    sorted.push_back(name);
  }
  names.reserve(n);
  for (BytesView name : sorted) names.emplace_back(name);
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) return damaged("a name occurs twice");
  return {};
}

Status ChangesetReader::Impl::read_tables(ByteReader& in, const Limits& limits) {
  uint64_t n = in.count(3);
  if (!in.ok()) return damaged("its table dictionary is cut short");
  if (n > limits.tables) return above("tables", n, limits.tables);
  tables.reserve(n);
  for (uint64_t i = 0; i < n; ++i) {
    BytesView name = in.bytes();
    if (!in.ok()) return damaged("its table dictionary is cut short");
    if (name.size() > limits.name_bytes) return above("bytes of a name", name.size(), limits.name_bytes);
    if (name.find('\0') != BytesView::npos) return damaged("a name holds a NUL character");
    WireTable& table = tables.emplace_back();
    table.name = name;
    REJOIN_TRY(read_names(in, limits, "key columns", table.key));
    REJOIN_TRY(read_names(in, limits, "columns", table.columns));
  }
  return {};
}

Status ChangesetReader::Impl::read_blocks(ByteReader& in, const Limits& limits) {
  uint64_t n = in.count(9);
  if (!in.ok()) return damaged("its blocks are cut short");
  blocks.reserve(n);
  places.reserve(n);
  uint64_t rows = 0, meaning = 0;
  for (uint64_t i = 0; i < n; ++i) {
    BlockInfo& info_of_block = blocks.emplace_back();
    auto where = [&] { return "block " + std::to_string(i); };
    uint64_t table = in.varint();
    if (!in.ok() || table >= tables.size()) return damaged(where() + " belongs to no table");
    info_of_block.table = static_cast<uint32_t>(table);
    BlockLayout block;
    block.flags = in.u8();
    const size_t table_columns = tables[table].columns.size();
    uint64_t columns = block.flags & layout::kAllColumns ? table_columns : in.count();
    // Every column takes a byte at least further on.
    if (!in.ok() || columns > in.left() || columns > table_columns) return damaged(where() + " has too many columns");
    info_of_block.columns.reserve(columns);
    uint64_t next = 0;
    for (uint64_t c = 0; c < columns; ++c) {
      uint64_t gap = block.flags & layout::kAllColumns ? 0 : in.varint();
      if (gap >= table_columns || next + gap >= table_columns)
        return damaged(where() + " has a column that its table has not");
      info_of_block.columns.push_back(static_cast<uint32_t>(next + gap));
      next += gap + 1;
    }
    if (!sensible_flags(block.flags, columns)) return damaged(where() + " has an unknown or senseless shape");
    info_of_block.with_life = block.flags & layout::kLife;
    info_of_block.rows = block.rows = in.varint();
    if (!in.ok() || block.rows == 0) return damaged(where() + " has no rows");
    if (block.rows > limits.rows || (rows += block.rows) > limits.rows)
      return above("rows", std::max(rows, block.rows), limits.rows);
    const char* body = in.position();
    if (!read_block_streams(in, columns, block)) return damaged(where() + " is cut short");
    for (uint64_t c = 0; c < columns; ++c) {
      ColumnLayout column;
      if (!read_column(in, block.rows, column)) return damaged(where() + " has a malformed column");
      meaning += block.rows * (1 + column.constant.size());
    }
    // Rows take bytes of their own, but values that are all the same don't: few bytes must not mean very many.
    if (meaning > limits.frame_bytes) return above("cells and repeated bytes", meaning, limits.frame_bytes);
    places.push_back({block.flags, BytesView(body, static_cast<size_t>(in.position() - body))});
  }
  if (!in.at_end()) return damaged("bytes follow the last block");
  return {};
}

Result<ChangesetReader> ChangesetReader::open(BytesView frame, const Limits& limits) {
  if (frame.size() > limits.frame_bytes) return above("bytes", frame.size(), limits.frame_bytes);
  if (frame.size() < layout::kSmallestFrame) return damaged("it is cut short");
  if (frame.substr(0, 3) != layout::kMagic.substr(0, 3)) return damaged("these bytes are no changeset");
  BytesView covered = frame.substr(0, frame.size() - layout::kChecksumBytes);
  if (layout::checksum(covered) != load_be64(covered.data() + covered.size()))
    return damaged("its checksum does not match its bytes");
  if (frame.substr(0, 4) != layout::kMagic || frame[4] != 0)
    return fail(Code::unsupported, "changeset refused: a format that this build does not know; update Rejoin");
  ByteReader in(covered.substr(5));
  auto impl = std::make_unique<Impl>();
  impl->budget = limits.frame_bytes;
  REJOIN_TRY(impl->read_info(in));
  REJOIN_TRY(impl->read_sites(in, limits));
  REJOIN_TRY(impl->read_tables(in, limits));
  REJOIN_TRY(impl->read_blocks(in, limits));
  return ChangesetReader(std::move(impl));
}

ChangesetReader::ChangesetReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChangesetReader::~ChangesetReader() = default;
ChangesetReader::ChangesetReader(ChangesetReader&&) noexcept = default;
ChangesetReader& ChangesetReader::operator=(ChangesetReader&&) noexcept = default;

const FrameInfo& ChangesetReader::info() const { return impl_->info; }
std::span<const SiteId> ChangesetReader::sites() const { return impl_->sites; }
std::span<const WireTable> ChangesetReader::tables() const { return impl_->tables; }
std::span<const BlockInfo> ChangesetReader::blocks() const { return impl_->blocks; }

BlockCursor ChangesetReader::rows(size_t block, std::span<const uint32_t> site_map,
                                  std::span<const uint32_t> column_map) const {
  auto cursor = std::make_unique<BlockCursor::Impl>();
  const BlockInfo& info = impl_->blocks[block];
  cursor->sites = impl_->sites;
  cursor->site_map = site_map.first(std::min(site_map.size(), impl_->sites.size()));
  cursor->flags = impl_->places[block].flags;
  cursor->rows = info.rows;
  cursor->budget = impl_->budget;
  cursor->ok =
      cursor->map_columns(info.columns, column_map) && cursor->set_up(impl_->places[block].body, impl_->base_ms);
  return BlockCursor(std::move(cursor));
}

}  // namespace rejoin::codec
