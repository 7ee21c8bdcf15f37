#include "postgres/server_value.h"

#include <map>

#include "codec/row_frame.h"
#include "postgres/base_rows.h"
#include "postgres/fold.h"
#include "postgres/page.h"
#include "postgres/records.h"

namespace rejoin::postgres {
namespace {

// The row as a device may be told it: alive with its values, dead with what was kept of it, or nothing.
std::optional<codec::OneRow> one_row(const Persona& persona, const Table& table, BytesView key, const StoredRow& stored,
                                     const Rows& base, int64_t at) {
  if (!stored.known || (stored.record.alive && at < 0)) return std::nullopt;
  // No policy can be asked about the values of a row that is not there.
  if (!stored.record.alive && persona.on()) return std::nullopt;
  codec::OneRow row{wire_table(table), Bytes(key), stored.record, {}};
  int column = 1;
  for (uint32_t c = 0; c < table.columns.size(); ++c) {
    if (!table.columns[c].present) continue;
    if (stored.record.alive)
      row.values[c] = read_value(base, static_cast<size_t>(at), column++, table.columns[c].type);
    else if (auto held = stored.held.find(c); held != stored.held.end())
      row.values[c] = held->second;
  }
  return row;
}

// One that may have been forgotten: gone since the horizon, but perhaps for a later deletion. Its values are told under
// the same conditions as those of others.
codec::OneRow forgotten_row(const Persona& persona, const Table& table, BytesView key, const StoredRow& stored,
                            crdt::Hlc horizon) {
  codec::OneRow row{wire_table(table), Bytes(key), {}, {}};
  if (!persona.on() && stored.known) {
    row.record = stored.record;
    for (const auto& [c, value] : stored.held)
      if (c < table.columns.size() && table.columns[c].present) row.values[c] = value;
  }
  if (row.record.live.hlc < horizon) row.record.live = {horizon, Work::kOwnSite};
  return row;
}

}  // namespace

Status tell_rows(Work& work, const Persona& persona, std::vector<sync::RefusedRow>& refused) {
  std::map<int64_t, std::vector<sync::RefusedRow*>> tables;
  for (sync::RefusedRow& row : refused)
    if (const Table* table = work.catalog().meant(row.table)) tables[table->id].push_back(&row);
  if (tables.empty()) return {};
  // What triggers and cascades of the merge have written, too.
  REJOIN_TRY(fold(work));
  uint64_t told = 0;
  for (auto& [id, rows] : tables) {
    const Table& table = *work.catalog().find(id);
    if (table.tenant && !names_tenant(table.tenant->type, work.tenant().name)) continue;
    KeyArrays arrays(table);
    std::vector<BytesView> keys;
    std::vector<sync::RefusedRow*> asked;
    // A key that the table's columns cannot hold is nobody's.
    for (sync::RefusedRow* row : rows)
      if (told < sync::kMostToldBytes && arrays.check_foreign(row->key).ok() && arrays.add(row->key).ok())
        keys.push_back(row->key), asked.push_back(row);
    if (asked.empty()) continue;
    std::vector<StoredRow> stored(keys.size());
    std::vector<int64_t> at(keys.size(), -1);
    Rows base;
    if (persona.may_pull(table)) {
      work.db().send("SAVEPOINT rejoin_tell");
      const size_t first = work.db().queued();
      send_records(work, table, keys);
      persona.enter(work);
      const size_t base_at = work.db().queued();
      send_select(work, table, arrays, present_columns(table));
      persona.leave(work);
      work.db().send("RELEASE SAVEPOINT rejoin_tell");
      auto all = work.db().sync();
      if (all.ok()) {
        REJOIN_TRY(read_records(work, table, (*all)[first], stored));
        base = std::move((*all)[base_at]);
      } else {
        // A policy that fails for this caller (its claims are none that it can read) lets it see nothing.
        if (!persona.on() || !work.db().usable()) return all.error();
        work.db().send("ROLLBACK TO SAVEPOINT rejoin_tell");
        work.db().send("RELEASE SAVEPOINT rejoin_tell");
      }
    }
    for (size_t i = 0; i < base.size(); ++i) at[static_cast<size_t>(base.integer(i, 0) - 1)] = static_cast<int64_t>(i);
    for (size_t i = 0; i < asked.size() && told < sync::kMostToldBytes; ++i) {
      const bool forgotten =
          asked[i]->code == Code::before_horizon && !stored[i].record.alive && persona.may_pull(table);
      const auto row = forgotten ? forgotten_row(persona, table, keys[i], stored[i], work.state.horizon)
                                 : one_row(persona, table, keys[i], stored[i], base, at[i]);
      asked[i]->server = codec::encode_row_frame(work.sites()[Work::kOwnSite], work.sites(), row ? &*row : nullptr);
      told += asked[i]->server.size();
    }
  }
  return {};
}

}  // namespace rejoin::postgres
