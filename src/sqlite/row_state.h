// One row as it is here: its versions and its values, visible or not.
#pragma once

#include <map>
#include <vector>

#include "codec/row_frame.h"
#include "crdt/record.h"
#include "sqlite/context.h"
#include "sync/store.h"

namespace rejoin::sqlite {

struct RowState {
  bool known = false;  // there is a record
  crdt::RowRecord record;
  std::map<uint32_t, OwnedValue> values;  // by column id: of the columns that were written
};

// Everything must have been folded.
Result<RowState> read_row_state(Context& ctx, const Table& table, BytesView key);
// Removes the row from here as if nobody had ever told of it: no deletion, nothing is captured, nothing travels. The
// caller holds an EnforcementOff with triggers: what the application's would write elsewhere would be pushed.
Status erase_row(Context& ctx, const Table& table, BytesView key);
// The state as others are told it.
codec::OneRow one_row(const Table& table, BytesView key, const RowState& state);

// What a server says that it has of a row (sync::RefusedRow::server); nothing: it did not say.
struct Told {
  crdt::SiteId source;
  std::optional<codec::OneRow> row;  // nothing: it has none
};
Result<std::optional<Told>> read_told(Context& ctx, BytesView frame);
// The same of a damaged frame, too, which is as if nothing was said.
Result<std::optional<Told>> read_told_if_whole(Context& ctx, BytesView frame);
// The same in this table's columns.
RowState state_of(const Table& table, const std::optional<codec::OneRow>& row);

// By position in a frame's table: the column's id here, or codec::kNoColumn.
std::vector<uint32_t> column_map(const Table& table, const codec::WireTable& wire);
// The same, as often as one column occurs under several of its names, each time with one of them.
std::vector<std::vector<uint32_t>> column_maps(const Table& table, const codec::WireTable& wire);
// By position in a frame's dictionary: the site's index here; new ones are added.
Result<std::vector<uint32_t>> site_map(Context& ctx, const codec::ChangesetReader& reader);

// For a server: what it has of the rows that it refused, into `server` of each; of tables that the caller may not read,
// nothing.
Status tell_rows(Work& work, const sync::Identity* who, std::vector<sync::RefusedRow>& refused);

}  // namespace rejoin::sqlite
