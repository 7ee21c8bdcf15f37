// Changesets: rows with their versions and values, by columns, in one checksummed frame. docs/formats-changeset.md has
// it, byte by byte.
//
// A frame is: magic "RJC1", u8 flags (0), header, site dictionary, table dictionary, blocks, then XXH3-64 (big-endian)
// of all bytes before it. A block holds rows of one table and one shape (which columns are present, whether liveness
// is), sorted by key.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "codec/limits.h"
#include "crdt/record.h"
#include "crdt/value.h"
#include "crdt/version.h"

namespace rejoin::codec {

// Where a frame stands in its source's stream of changes. Positions are the source's log positions.
struct FrameInfo {
  crdt::SiteId source;       // the replica that made the frame
  Bytes from;                // opaque cursor (codec/cursor.h) that the frame starts after
  Bytes next;                // opaque cursor to ask for the next page with
  uint64_t through = 0;      // all changes up to here are in this and earlier pages; 0 while a scan is under way
  uint64_t horizon = 0;      // the source's tail when the rows were read; visible only once `through` has reached it
  bool starts_batch = true;  // `from` is the end of a batch (or the beginning of everything)
  bool last = true;          // nothing more was there when it was made
  friend bool operator==(const FrameInfo&, const FrameInfo&) = default;
};

// A table as a frame names it. A column's position in `columns` is what the frame's blocks call it.
struct WireTable {
  std::string name;
  std::vector<std::string> key;      // names of the key columns
  std::vector<std::string> columns;  // names of the other columns
  friend bool operator==(const WireTable&, const WireTable&) = default;
};

// Builds a frame. Rows of one table must come in strictly ascending key order, from one begin_table() to the next.
// Tables without rows and columns that no row sends are left out of the frame's dictionaries, so a column's position
// there is not the one it had in begin_table(). Memory grows with the bytes of the frame.
class ChangesetWriter {
 public:
  // `sites` is the database's site table that stamps refer to; it must outlive the writer. Only sites that occur are
  // written.
  ChangesetWriter(FrameInfo info, const crdt::SiteTable& sites);
  ~ChangesetWriter();
  ChangesetWriter(const ChangesetWriter&) = delete;
  ChangesetWriter& operator=(const ChangesetWriter&) = delete;

  // Rows added from now on belong to this table. One that is named again, for rows with other columns, stands in the
  // frame's dictionary again.
  void begin_table(const WireTable& table);
  // One row. `columns`: which columns' cells are sent (ids = positions in WireTable::columns); each must have a stamp
  // in `record`. `values`: one per member of `columns`, ascending; copied. `with_life`: send alive, live and birth too.
  void add(BytesView key, const crdt::RowRecord& record, const crdt::ColumnSet& columns, bool with_life,
           std::span<const crdt::ValueRef> values);
  uint64_t rows() const;
  // Bytes so far, without dictionaries: what a page limit is held against.
  uint64_t bytes() const;
  FrameInfo& info();
  // The frame. The writer is spent.
  Bytes finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

inline constexpr uint32_t kNoColumn = ~uint32_t{0};

struct BlockInfo {
  uint32_t table = 0;             // index into ChangesetReader::tables()
  std::vector<uint32_t> columns;  // positions in that table's `columns`, ascending
  bool with_life = false;
  uint64_t rows = 0;
};

// Walks the rows of one block, in key order. The views of a row live until next() is called again, because keys and
// UUIDs are spelled out in memory of the cursor's; other texts and blobs are views into the frame.
class BlockCursor {
 public:
  ~BlockCursor();
  BlockCursor(BlockCursor&&) noexcept;
  // Steps to the next row. False at the end, and when the block is damaged (then ok() is false). Damage may show only
  // at the end, so ask ok() after the last row and before anything is committed.
  bool next();
  bool ok() const;
  BytesView key() const;
  // One value per BlockInfo::columns, those that the map leaves out included.
  std::span<const crdt::ValueRef> values() const;
  // The row's (partial) record in the caller's terms, canonical: stamps through the site map, columns through the
  // column map (kNoColumn: left out). Cheap when all stamps of a row are one: a single group.
  const crdt::RowRecord& record() const;
  // The greatest hlc of the row, columns that the map leaves out included.
  crdt::Hlc newest() const;

 private:
  friend class ChangesetReader;
  struct Impl;
  explicit BlockCursor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Reads a frame. Verifies the checksum and the dictionaries when opened; rows as they are walked.
class ChangesetReader {
 public:
  // `frame` must outlive the reader and its cursors. Errors: corrupt, unsupported, too_large.
  static Result<ChangesetReader> open(BytesView frame, const Limits& limits = {});
  ~ChangesetReader();
  ChangesetReader(ChangesetReader&&) noexcept;
  ChangesetReader& operator=(ChangesetReader&&) noexcept;

  const FrameInfo& info() const;
  std::span<const crdt::SiteId> sites() const;
  std::span<const WireTable> tables() const;
  std::span<const BlockInfo> blocks() const;
  // `site_map[i]`: the caller's index of sites()[i]. `column_map[i]`: the caller's id of the i-th of the table's
  // `columns`, or kNoColumn. Both must outlive the cursor.
  BlockCursor rows(size_t block, std::span<const uint32_t> site_map, std::span<const uint32_t> column_map) const;

 private:
  struct Impl;
  explicit ChangesetReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rejoin::codec
