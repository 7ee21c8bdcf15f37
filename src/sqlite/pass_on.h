// Rows that are kept aside because this database lacks their table or their columns (rejoin_parked) travel on all the
// same, in the changesets that replicas give each other.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "codec/changeset.h"
#include "sqlite/context.h"

namespace rejoin::sqlite {

struct ParkedRow {
  std::string table;  // as its frame names it
  Bytes key;
};

// Puts a row that was kept aside now into the feed.
Status log_parked(Context& ctx, const std::string& table, BytesView key);
// What such an entry names (rejoin_log.k0). False: it is damaged.
bool read_parked_entry(BytesView entry, ParkedRow& row);
// Is it still kept aside, for its table or its columns?
Result<bool> still_parked(Context& ctx, const ParkedRow& row);

// Two changes of one row as one; nothing when they are not of one table and key.
Result<std::optional<Bytes>> join_parked(Context& ctx, BytesView one, BytesView other);

// Adds the rows to a frame, behind everything else. Several changes of one row become one.
Status write_parked(Context& ctx, const std::vector<ParkedRow>& rows, codec::ChangesetWriter& writer);
// All rows, from the one behind `after` (empty: the first) on, until the frame holds `max_bytes`; `after` moves along.
// False when there are no more.
Result<bool> scan_parked(Context& ctx, uint64_t max_bytes, Bytes& after, codec::ChangesetWriter& writer);

}  // namespace rejoin::sqlite
