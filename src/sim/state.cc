#include "sim/state.h"

#include <algorithm>
#include <vector>

#include "crdt/key.h"
#include "sim/tables.h"

namespace rejoin::sim {
namespace {

Version version_of(crdt::Stamp stamp, std::span<const crdt::SiteId> sites) {
  if (stamp.bottom()) return {};
  return {stamp.hlc, std::string(sites[stamp.site].view())};
}

}  // namespace

std::string print(const Version& version) {
  if (version.hlc == 0) return "-";
  return std::to_string(version.hlc >> 16) + "." + std::to_string(version.hlc & 0xffff) + "@" +
         to_hex(version.site.substr(0, 4));
}

std::string print(const Row& row) {
  std::string out = std::string(row.alive ? "alive " : "dead ") + print(row.life) + " birth " + print(row.birth);
  for (const auto& [column, cell] : row.cells)
    out += " " + std::to_string(column) + ":" + print(cell.value) + " " + print(cell.version);
  return out;
}

std::string print(const State& state) {
  std::string out;
  for (const auto& [table, rows] : state)
    for (const auto& [key, row] : rows)
      out += "  " + table_specs()[static_cast<size_t>(table)].label + " " + print(key) + ": " + print(row) + "\n";
  return out;
}

std::string print(const NamedState& state) {
  std::string out;
  for (const auto& [name, rows] : state)
    for (const auto& [key, row] : rows)
      out += "  " + table_specs()[static_cast<size_t>(name.first)].label + " by its name " +
             std::to_string(name.second) + " " + print(key) + ": " + print(row) + "\n";
  return out;
}

void join(Row& into, const Row& other) {
  if (into.life < other.life) into.life = other.life, into.alive = other.alive;
  into.birth = std::max(into.birth, other.birth);
  for (const auto& [column, cell] : other.cells) {
    auto [at, fresh] = into.cells.try_emplace(column, cell);
    if (!fresh && at->second.version < cell.version) at->second = cell;
  }
  std::erase_if(into.cells, [&](const auto& entry) { return entry.second.version < into.birth; });
}

Result<Said> decode_frame(BytesView frame, const TableVersions& source) {
  REJOIN_ASSIGN(codec::ChangesetReader reader, codec::ChangesetReader::open(frame));
  std::vector<uint32_t> site_map(reader.sites().size());
  for (size_t i = 0; i < site_map.size(); ++i) site_map[i] = static_cast<uint32_t>(i);
  Said said;
  for (size_t b = 0; b < reader.blocks().size(); ++b) {
    const codec::BlockInfo& block = reader.blocks()[b];
    const codec::WireTable& wire = reader.tables()[block.table];
    const std::optional<TableName> name = table_named(wire.name, wire.key);
    if (!name)
      return fail(Code::corrupt, "the frame names the unknown table '" + wire.name + "', or other key columns of it");
    const int table = name->first;
    const TableSpec& spec = spec_at(table, source);
    said.names[table] = spec.name_number;
    std::vector<uint32_t> column_map;
    bool aside = name->second != spec.name_number;
    for (const std::string& column : wire.columns) {
      size_t c = 0;
      while (c < spec.columns.size() && spec.columns[c].name != column) ++c;
      if (c == spec.columns.size()) return fail(Code::corrupt, "the frame names the unknown column '" + column + "'");
      column_map.push_back(static_cast<uint32_t>(c));
      aside |= spec.columns[c].absent;
    }
    std::map<Key, Row>& into = aside ? said.aside[*name] : said.rows[table];
    codec::BlockCursor rows = reader.rows(b, site_map, column_map);
    std::vector<crdt::ValueRef> key_values;
    Bytes scratch;
    while (rows.next()) {
      if (!crdt::decode_key(rows.key(), wire.key.size(), key_values, scratch))
        return fail(Code::corrupt, "the frame has a malformed key");
      Key key;
      for (const crdt::ValueRef& v : key_values) key.push_back(Value::of(v));
      Row& row = into[key];
      const crdt::RowRecord& record = rows.record();
      if (block.with_life) {
        if (row.life.hlc) return fail(Code::corrupt, "the frame has a row's liveness twice");
        row.alive = record.alive;
        row.life = version_of(record.live, reader.sites());
        row.birth = version_of(record.birth, reader.sites());
      }
      for (size_t i = 0; i < block.columns.size(); ++i) {
        uint32_t column = column_map[block.columns[i]];
        Cell cell{version_of(record.stamp_of(column), reader.sites()), Value::of(rows.values()[i])};
        if (cell.version.hlc == 0) return fail(Code::corrupt, "the frame has a cell without a version");
        if (!row.cells.emplace(static_cast<int>(column), cell).second)
          return fail(Code::corrupt, "the frame has a cell twice");
      }
    }
    if (!rows.ok()) return fail(Code::corrupt, "the frame's block is damaged");
  }
  return said;
}

}  // namespace rejoin::sim
