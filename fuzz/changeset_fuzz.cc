// Hostile changesets. Input: a frame; read as it is, and once more with its checksum put right, which is what a hostile
// peer would do.
//
// Whatever opens may be walked and printed. The rows of a sound block, written again, must read as the same rows, and
// written once more make the same bytes.
#include <cstddef>
#include <cstdint>
#include <numeric>

#include "codec/changeset.h"
#include "codec/changeset_layout.h"
#include "codec/changeset_samples.h"
#include "codec/print.h"
#include "codec/row_frame.h"

namespace {

using namespace rejoin;
using namespace rejoin::codec;

#define REQUIRE(condition) ((condition) ? (void)0 : __builtin_trap())

std::vector<uint32_t> identity(size_t n) {
  std::vector<uint32_t> map(n);
  std::iota(map.begin(), map.end(), 0u);
  return map;
}

std::vector<uint32_t> site_map(const ChangesetReader& reader, crdt::SiteTable& sites) {
  std::vector<uint32_t> map;
  for (const crdt::SiteId& id : reader.sites()) map.push_back(sites.intern(id));
  return map;
}

struct BlockView {
  const ChangesetReader& reader;
  size_t index;
  std::vector<uint32_t> sites;
  std::vector<uint32_t> columns;
  const BlockInfo& info() const { return reader.blocks()[index]; }
  BlockCursor rows() const { return reader.rows(index, sites, columns); }
};

Bytes rewrite(const BlockView& block, const crdt::SiteTable& sites) {
  ChangesetWriter writer(block.reader.info(), sites);
  const WireTable& table = block.reader.tables()[block.info().table];
  writer.begin_table(table);
  crdt::ColumnSet columns;
  for (uint32_t column : block.info().columns) columns.add(column);
  BlockCursor cursor = block.rows();
  while (cursor.next()) writer.add(cursor.key(), cursor.record(), columns, block.info().with_life, cursor.values());
  REQUIRE(cursor.ok() && writer.rows() == block.info().rows);
  return writer.finish();
}

// Rewrites what `block` says. The result may have several blocks: what was written as one shape by a peer may be two to
// our writer.
void check_rewriting(const BlockView& block, crdt::SiteTable& sites) {
  Bytes frame = rewrite(block, sites);
  auto opened = ChangesetReader::open(frame);
  REQUIRE(opened.ok() && opened->info() == block.reader.info() && opened->tables().size() == 1);
  const WireTable& before = block.reader.tables()[block.info().table];
  const WireTable& after = opened->tables()[0];
  std::vector<uint32_t> columns;  // back to the ids in `before`
  for (uint32_t column : block.info().columns) columns.push_back(column);
  REQUIRE(after.columns.size() == columns.size());
  for (size_t i = 0; i < columns.size(); ++i) REQUIRE(after.columns[i] == before.columns[columns[i]]);

  std::vector<BlockCursor> cursors;
  std::vector<bool> more;
  std::vector<uint32_t> map = site_map(*opened, sites);
  uint64_t rows = 0;
  for (size_t b = 0; b < opened->blocks().size(); ++b) {
    rows += opened->blocks()[b].rows;
    cursors.push_back(opened->rows(b, map, columns));
    more.push_back(cursors.back().next());
  }
  REQUIRE(rows == block.info().rows);
  BlockCursor original = block.rows();
  while (original.next()) {
    size_t b = 0;
    while (b < cursors.size() && !(more[b] && cursors[b].key() == original.key())) ++b;
    REQUIRE(b < cursors.size());
    REQUIRE(cursors[b].record() == original.record());
    REQUIRE(cursors[b].newest() == original.newest());
    REQUIRE(cursors[b].values().size() == original.values().size());
    for (size_t i = 0; i < original.values().size(); ++i)
      REQUIRE(crdt::same_value(cursors[b].values()[i], original.values()[i]));
    more[b] = cursors[b].next();
  }
  for (const BlockCursor& cursor : cursors) REQUIRE(cursor.ok());
}

void try_frame(BytesView frame) {
  Limits limits;
  limits.frame_bytes = 1 << 20;  // also bounds what the rows may spell out, so that no input takes seconds
  auto opened = ChangesetReader::open(frame, limits);
  if (!opened.ok()) {
    REQUIRE(!opened.error().message.empty());
    return;
  }
  samples::walk(*opened);
  {
    crdt::SiteTable known;
    (void)read_row_frame(*opened, site_map(*opened, known)).ok();
  }
  if (frame.size() < 4096) REQUIRE(!changeset_text(frame).empty() && changeset_json(frame)[0] == '{');
  crdt::SiteTable sites;
  std::vector<uint32_t> map = site_map(*opened, sites);
  for (size_t b = 0; b < opened->blocks().size() && b < 8; ++b) {
    BlockView block{*opened, b, map, identity(opened->tables()[opened->blocks()[b].table].columns.size())};
    BlockCursor cursor = block.rows();
    while (cursor.next()) {
    }
    if (cursor.ok()) check_rewriting(block, sites);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  BytesView input(reinterpret_cast<const char*>(data), size);
  try_frame(input);
  if (size < layout::kChecksumBytes) return 0;
  Bytes fixed(input.substr(0, size - layout::kChecksumBytes));
  put_be64(fixed, layout::checksum(fixed));
  try_frame(fixed);
  return 0;
}
