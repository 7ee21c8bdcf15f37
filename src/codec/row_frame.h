// One row as a changeset of its own: how a receiver says what it has of a row.
#pragma once

#include <map>
#include <optional>

#include "codec/changeset.h"

namespace rejoin::codec {

struct OneRow {
  WireTable table;
  Bytes key;
  crdt::RowRecord record;                       // columns by their position in `table.columns`
  std::map<uint32_t, crdt::OwnedValue> values;  // likewise; cells without a value are not sent
};

// `source`: who says it. Nothing: a changeset without rows, for a row that is not there.
Bytes encode_row_frame(const crdt::SiteId& source, const crdt::SiteTable& sites, const OneRow* row);
// The only row, or nothing; stamps through `site_map` (ChangesetReader::rows). Errors: corrupt.
Result<std::optional<OneRow>> read_row_frame(const ChangesetReader& reader, std::span<const uint32_t> site_map);

}  // namespace rejoin::codec
