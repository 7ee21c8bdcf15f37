#include "sim/visible.h"

#include <algorithm>

namespace rejoin::sim {
namespace {

Version claim_version(const UniqueSpec& unique, const Row& row) {
  Version out;
  auto read = [&](int column) {
    if (auto cell = row.cells.find(column); cell != row.cells.end()) out = std::max(out, cell->second.version);
  };
  for (int column : unique.columns) read(column);
  if (unique.where_zero >= 0) read(unique.where_zero);
  return out;
}

const std::vector<UniqueSpec>& unique_indexes(int table, const TableSpec& spec, const Mistakes& mistakes) {
  if (mistakes.renamed_columns_claim_nothing) return table_specs()[static_cast<size_t>(table)].unique;
  if (mistakes.late_indexes_hide_nothing) return spec_at(table, TableVersion{spec.version, 0}).unique;
  const bool dropped =
      spec.version > 0 && spec.alters[static_cast<size_t>(spec.version) - 1].kind == AlterSpec::drop_index;
  return (dropped && mistakes.dropped_indexes_stay ? spec_at(table, TableVersion{spec.version - 1, 0}) : spec).unique;
}

// All but the first of those that claim one value.
void hide_later_claims(int table, const TableSpec& spec, const std::map<Key, Row>& records, const Mistakes& mistakes,
                       Visible& out) {
  const std::map<Key, std::vector<Value>> rows = out.rows.at(table);
  for (const UniqueSpec& unique : unique_indexes(table, spec, mistakes)) {
    std::map<Key, std::pair<Version, Key>> first;
    for (const auto& [key, values] : rows) {
      Key tuple = claimed(unique, values, mistakes);
      if (tuple.empty()) continue;
      if (mistakes.hidden_rows_claim_nothing && !out.rows.at(table).count(key)) continue;
      std::pair<Version, Key> claim{claim_version(unique, records.at(key)), key};
      auto [at, fresh] = first.try_emplace(tuple, claim);
      if (fresh) continue;
      bool wins = mistakes.later_claim_wins ? at->second < claim : claim < at->second;
      const Key& loser = wins ? at->second.second : key;
      out.rows.at(table).erase(loser);
      out.parked[{table, loser}] = Parked::unique;
      if (wins) at->second = claim;
    }
  }
}

}  // namespace

std::string_view parked_name(Parked parked) {
  constexpr std::string_view kNames[] = {"CHECK", "UNIQUE", "FOREIGN KEY", "stand-in"};
  return kNames[static_cast<size_t>(parked)];
}

Visible visible_rows(const State& state, const std::vector<int>& tables, const TableVersions& versions,
                     const Mistakes& mistakes) {
  Visible out;
  static const std::map<Key, Row> none;
  for (int table : tables) {
    const TableSpec& spec = spec_at(table, versions);
    auto known = state.find(table);
    const std::map<Key, Row>& records = known == state.end() ? none : known->second;
    auto& rows = out.rows[table];
    for (const auto& [key, row] : records) {
      if (!row.alive) continue;
      std::vector<Value> values;
      for (const ColumnSpec& column : spec.columns)
        values.push_back(column.absent ? Value::null() : column.default_value);
      for (const auto& [column, cell] : row.cells) values[static_cast<size_t>(column)] = cell.value;
      if (check_holds(spec, values))
        rows[key] = std::move(values);
      else
        out.parked[{table, key}] = Parked::check;
    }
    hide_later_claims(table, spec, records, mistakes, out);
  }
  // The greatest set in which each row has its parents: whoever lacks one leaves, until nobody does.
  for (bool changed = !mistakes.orphans_are_shown; changed;) {
    changed = false;
    for (int table : tables) {
      auto& rows = out.rows.at(table);
      for (auto at = rows.begin(); at != rows.end();) {
        bool leaves = false;
        for (const ReferenceSpec& f : spec_at(table, versions).references) {
          Value& to = at->second[static_cast<size_t>(f.column)];
          if (to == Value::null() || out.rows.at(table_index(f.parent)).count({to})) continue;
          changed = true;
          if (f.on_delete != OnDelete::set_null || mistakes.stand_ins_are_hidden) {
            leaves = true;
          } else {
            to = Value::null();
            out.parked[{table, at->first}] = Parked::stand_in;
          }
        }
        if (leaves) out.parked[{table, at->first}] = Parked::foreign_key;
        at = leaves ? rows.erase(at) : std::next(at);
      }
    }
  }
  return out;
}

}  // namespace rejoin::sim
