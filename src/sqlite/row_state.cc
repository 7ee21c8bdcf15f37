#include "sqlite/row_state.h"

#include <algorithm>

#include "crdt/key.h"
#include "sqlite/base_writer.h"
#include "sqlite/extract.h"
#include "sqlite/horizon.h"
#include "sqlite/key_reader.h"
#include "sqlite/out_of_reach.h"
#include "sqlite/parked.h"

namespace rejoin::sqlite {

Result<RowState> read_row_state(Context& ctx, const Table& table, BytesView key) {
  RowState state;
  REJOIN_ASSIGN(RecordReader records, RecordReader::open(ctx, table));
  REJOIN_ASSIGN(BytesView stored, records.find(key));
  state.known = stored.data() != nullptr;
  if (!state.known) return state;
  if (!crdt::decode_record(stored, ctx.sites.size(), state.record))
    return fail(Code::corrupt, "the record of a row in \"" + table.name + "\" is damaged; run rejoin doctor");
  REJOIN_ASSIGN(RowReader row, RowReader::open(ctx, table, !state.record.visible()));
  REJOIN_ASSIGN(bool found, row.find(key));
  for (uint32_t c = 0; found && c < table.columns.size(); ++c)
    if (table.columns[c].present && !state.record.stamp_of(c).bottom()) state.values[c] = OwnedValue::of(row.value(c));
  return state;
}

Status erase_row(Context& ctx, const Table& table, BytesView key) {
  BaseWriter base(ctx, table);
  BaseWriter::Row row;
  Bytes scratch;
  if (!crdt::decode_key(key, table.key.size(), row.key, scratch))
    return fail(Code::corrupt, "a key of table \"" + table.name + "\" is damaged");
  REJOIN_TRY(require_reach(ctx, table));
  REJOIN_ASSIGN(const Wrote wrote, base.erase(row));
  if (wrote == Wrote::refused)
    return fail(Code::unsupported, "a row of \"" + table.name + "\" cannot be taken out: " + base.reason() +
                                       "; nothing was changed. Do this on a connection on which that expression works");
  REJOIN_TRY(base.erase_shadow(row));
  REJOIN_TRY(unpark_hidden(ctx, table, key));
  REJOIN_ASSIGN(Statement * s, ctx.statement("DELETE FROM " + table.records() + " WHERE k=?1"));
  Use use(*s);
  s->bind_blob(1, key);
  return s->run("forgetting a row of " + table.name);
}

codec::OneRow one_row(const Table& table, BytesView key, const RowState& state) {
  codec::OneRow row{wire_table(table), Bytes(key), state.record, {}};
  for (const auto& [c, value] : state.values)
    if (table.columns[c].present) row.values[c] = value;
  return row;
}

std::vector<std::vector<uint32_t>> column_maps(const Table& table, const codec::WireTable& wire) {
  // Names that the columns have now go first.
  std::vector<std::vector<uint32_t>> maps(1, std::vector<uint32_t>(wire.columns.size(), codec::kNoColumn));
  auto same = [](const std::string& a, const std::string& b) { return sqlite3_stricmp(a.c_str(), b.c_str()) == 0; };
  for (size_t i = 0; i < wire.columns.size(); ++i)
    for (uint32_t c = 0; c < table.columns.size(); ++c)
      if (table.columns[c].present && same(table.columns[c].name, wire.columns[i])) maps[0][i] = c;
  if (table.former.empty()) return maps;
  for (size_t i = 0; i < wire.columns.size(); ++i) {
    if (maps[0][i] != codec::kNoColumn) continue;
    for (const FormerName& f : table.former) {
      if (f.column < 0 || !table.columns[static_cast<size_t>(f.column)].present || !same(f.name, wire.columns[i]))
        continue;
      const auto id = static_cast<uint32_t>(f.column);
      size_t pass = 0;
      while (pass < maps.size() && std::find(maps[pass].begin(), maps[pass].end(), id) != maps[pass].end()) ++pass;
      if (pass == maps.size()) maps.emplace_back(wire.columns.size(), codec::kNoColumn);
      maps[pass][i] = id;
      break;
    }
  }
  return maps;
}

std::vector<uint32_t> column_map(const Table& table, const codec::WireTable& wire) {
  return std::move(column_maps(table, wire)[0]);
}

Result<std::vector<uint32_t>> site_map(Context& ctx, const codec::ChangesetReader& reader) {
  std::vector<uint32_t> out;
  for (const crdt::SiteId& id : reader.sites()) {
    REJOIN_ASSIGN(uint32_t index, intern_site(ctx, id));
    out.push_back(index);
  }
  return out;
}

Result<std::optional<Told>> read_told_if_whole(Context& ctx, BytesView frame) {
  auto reader = codec::ChangesetReader::open(frame);
  if (!reader.ok()) return std::optional<Told>();
  REJOIN_ASSIGN(const std::vector<uint32_t> sites, site_map(ctx, *reader));
  auto row = codec::read_row_frame(*reader, sites);
  if (!row.ok()) return std::optional<Told>();
  return std::optional(Told{reader->info().source, std::move(*row)});
}

Result<std::optional<Told>> read_told(Context& ctx, BytesView frame) {
  if (frame.empty()) return std::optional<Told>();
  REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame));
  REJOIN_ASSIGN(std::vector<uint32_t> sites, site_map(ctx, reader));
  Told told{reader.info().source, {}};
  REJOIN_ASSIGN(told.row, codec::read_row_frame(reader, sites));
  return std::optional(std::move(told));
}

RowState state_of(const Table& table, const std::optional<codec::OneRow>& row) {
  RowState state;
  if (!row) return state;
  state.known = true;
  const std::vector<uint32_t> columns = column_map(table, row->table);
  state.record = row->record;
  state.record.groups.clear();
  for (const crdt::CellGroup& group : row->record.groups) {
    crdt::CellGroup mapped{{}, group.stamp};
    group.columns.each([&](uint32_t c) {
      if (columns[c] != codec::kNoColumn) mapped.columns.add(columns[c]);
    });
    if (!mapped.columns.empty()) state.record.groups.push_back(std::move(mapped));
  }
  for (const auto& [c, value] : row->values)
    if (columns[c] != codec::kNoColumn) state.values[columns[c]] = value;
  return state;
}

Status tell_rows(Work& work, const sync::Identity* who, std::vector<sync::RefusedRow>& refused) {
  Context& ctx = work.ctx();
  uint64_t told = 0;
  for (sync::RefusedRow& row : refused) {
    const Table* table = ctx.catalog.find(row.table);
    if (!table || told > sync::kMostToldBytes) continue;
    REJOIN_ASSIGN(RowState state, read_row_state(ctx, *table, row.key));
    if (row.code == Code::before_horizon) {
      // Gone for so long that it is forgotten, but perhaps for a later deletion.
      REJOIN_ASSIGN(const Horizon horizon, read_horizon(ctx));
      state.known = true;
      if (state.record.live.hlc < horizon.hlc) state.record.live = {horizon.hlc, work.state.site};
    }
    state.known &= sync::right_of(who, table->name).pull;
    const codec::OneRow one = one_row(*table, row.key, state);
    row.server = codec::encode_row_frame(ctx.sites[work.state.site], ctx.sites, state.known ? &one : nullptr);
    told += row.server.size();
  }
  return {};
}

}  // namespace rejoin::sqlite
