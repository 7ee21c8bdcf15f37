// The oracle's part about tables that change. A replica knows of columns that it does not have what it has heard of
// them: its records have those cells too, and they show when the column comes. What comes under a name that the table
// has not got yet is kept apart until it has.
#include "sim/oracle.h"

#include <utility>

namespace rejoin::sim {

void Oracle::alter(int table) {
  changes();
  const AlterSpec& change = spec(table).alters[static_cast<size_t>(versions_[table].changes++)];
  if (change.kind == AlterSpec::create_index || change.kind == AlterSpec::drop_index) return;
  if (change.kind == AlterSpec::rekey) {
    // Rows take their versions along; nobody knows any more what was deleted.
    Rows rows;
    for (auto& [key, row] : tables_.at(table)) {
      if (!row.alive && !mistakes_.deletions_survive_a_new_key) continue;
      std::erase_if(row.cells,
                    [&](const auto& cell) { return spec(table).columns[static_cast<size_t>(cell.first)].absent; });
      if (mistakes_.a_new_key_stamps_anew)
        for (auto& [column, cell] : row.cells) ++cell.version.version.hlc;
      rows[key_now(spec(table), key)] = std::move(row);
    }
    tables_.at(table) = std::move(rows);
  }
  if (change.kind == AlterSpec::rename_table || change.kind == AlterSpec::rekey) {
    // What waited for the name, or the key.
    auto waited = later_.extract({table, spec(table).name_number});
    const bool lost = change.kind == AlterSpec::rekey ? mistakes_.rows_with_a_later_key_are_lost
                                                      : mistakes_.rows_of_later_table_names_are_lost;
    if (waited && !lost) merge(table, waited.mapped());
    return;
  }
  if (change.kind == AlterSpec::add) {
    if (!mistakes_.added_columns_are_written) return;
    for (auto& [key, row] : tables_.at(table))
      row.cells.try_emplace(change.column,
                            OpenCell{row.birth, spec(table).columns[static_cast<size_t>(change.column)].default_value});
    return;
  }
  for (auto& [key, row] : tables_.at(table)) {
    auto at = row.cells.find(change.column);
    if (at == row.cells.end()) continue;
    OpenCell moved = at->second;
    row.cells.erase(at);
    if (change.kind == AlterSpec::drop) continue;
    // Others may have told of it under the new name already.
    auto [there, fresh] = row.cells.try_emplace(change.to, moved);
    if (!fresh && order(moved.version, there->second.version.version) > 0) there->second = moved;
  }
}

Oracle::Altering Oracle::begin(int table) const {
  const auto version = versions_.find(table);
  Altering out{table, version == versions_.end() ? TableVersion() : version->second, visible(table), {}};
  out.rows = out.before;
  return out;
}

void Oracle::alter(Altering& altering) const {
  const TableSpec& now = spec_at(altering.table, altering.version);
  const AlterSpec& change = now.alters[static_cast<size_t>(altering.version.changes++)];
  const size_t column = static_cast<size_t>(change.column);
  // Nobody has written to a new column yet, not here.
  const Value value = change.kind == AlterSpec::add ? now.columns[column].default_value : Value::null();
  for (auto* rows : {&altering.before, &altering.rows})
    for (auto& [key, row] : *rows) row[column] = value;
}

Outcome Oracle::write(Altering& altering, const Step& step) const {
  Shown table;
  table.rows[altering.table] = std::move(altering.rows);
  std::vector<Change> seen;  // by nobody
  const Outcome outcome = table.run(step, {{altering.table, altering.version}}, false, mistakes_, seen);
  altering.rows = std::move(table.rows.at(altering.table));
  return outcome;
}

void Oracle::commit(const Altering& altering, int64_t now_ms) {
  const int table = altering.table;
  while (versions_[table].changes < altering.version.changes) alter(table);
  if (mistakes_.writes_between_begin_and_commit_are_lost) return;
  const uint64_t low = low_;
  bool changed = false;
  const Open now = stamp(now_ms, 2 * (altering.before.size() + altering.rows.size()));
  const auto present = [&](const std::vector<Value>& row) {
    Set out;
    for (size_t c = 0; c < row.size(); ++c)
      if (!spec(table).columns[c].absent) out.emplace_back(static_cast<int>(c), row[c]);
    return out;
  };
  for (const auto& [key, row] : altering.before) {
    if (altering.rows.count(key)) continue;
    OpenRow& gone = tables_.at(table).at(key);
    gone.alive = false, gone.life = now;
    changed = true;
  }
  for (const auto& [key, row] : altering.rows) {
    auto was = altering.before.find(key);
    if (was == altering.before.end()) {
      write_insert(table, key, present(row), now);
      changed = true;
      continue;
    }
    for (const auto& [column, value] : present(row)) {
      if (value == was->second[static_cast<size_t>(column)]) continue;
      tables_.at(table).at(key).cells[column] = {now, value};
      changed = true;
    }
  }
  if (!changed) low_ = low;
}

size_t Oracle::hear(TableName name, const std::map<Key, Row>& incoming) {
  const int known = spec(name.first).name_number;
  // By a former key: it waits in vain.
  if (name.second < spec(name.first).key_number) return 0;
  if (name.second < known && mistakes_.former_table_names_are_forgotten) return 0;
  if (name.second <= known) return merge(name.first, incoming);
  changes();
  for (const auto& [key, row] : incoming) join(later_[name][key], row);
  return 0;
}

std::string Oracle::check_later(TableName name, const std::map<Key, Row>& rows, bool whole) const {
  static const std::map<Key, Row> none;
  auto at = later_.find(name);
  const std::map<Key, Row>& known = at == later_.end() ? none : at->second;
  for (const auto& [key, row] : rows) {
    const std::string what = spec(name.first).label + " " + print(key) + ", by a name that the table has not got yet, ";
    auto k = known.find(key);
    if (k == known.end()) return what + "was never heard of: " + print(row);
    Row joined = k->second;
    join(joined, row);
    // In part it may be told.
    if (!(joined == k->second) || (whole && !(row == k->second)))
      return what + "is " + print(row) + ", should be " + print(k->second);
  }
  for (const auto& [key, row] : known)
    if (whole && !rows.count(key))
      return spec(name.first).label + " " + print(key) +
             ", by a name that the table has not got yet, is lost: " + print(row);
  return "";
}

std::string Oracle::check_aside(const NamedState& aside, bool whole) {
  State mine_by_now;
  for (const auto& [name, rows] : aside) {
    const auto& [table, number] = name;
    const TableSpec& here = spec(table);
    if (number < here.key_number) continue;
    if (number > here.name_number) {
      if (std::string wrong = check_later(name, rows, whole); !wrong.empty()) return wrong;
      continue;
    }
    for (const auto& [key, row] : rows) {
      std::string what = here.label + " " + print(key) + ", kept aside";
      auto at = tables_.at(table).find(key);
      if (at == tables_.at(table).end()) return what + ": a row that nobody wrote: " + print(row);
      join(mine_by_now[table][key], row);
      OpenRow& mine = at->second;
      for (const auto& [named, cell] : row.cells) {
        const int column = home_of(table, here.version, named);
        // Of an earlier life.
        if (order(mine.birth, cell.version) > 0) continue;
        auto known = mine.cells.find(column);
        int newer = known == mine.cells.end() ? -1 : order(known->second.version, cell.version);
        if (newer > 0 || (newer == 0 && known->second.value == cell.value)) continue;
        // What was kept before the column went is not counted.
        if (!was_dropped(table, here.version, column))
          return what + ": column " + here.columns[static_cast<size_t>(named)].name + " is " + print(cell.value) + " " +
                 print(cell.version) + ", which it has not heard";
        mine.cells[column] = {{cell.version, 0}, cell.value};
      }
    }
  }
  if (!whole) return "";
  for (const auto& [name, rows] : later_)
    if (!rows.empty() && !aside.count(name))
      if (std::string wrong = check_later(name, {}, true); !wrong.empty()) return wrong;
  for (const auto& [table, rows] : tables_) {
    for (const auto& [key, row] : rows) {
      for (const auto& [column, cell] : row.cells) {
        const ColumnSpec& c = spec(table).columns[static_cast<size_t>(column)];
        if (!c.absent) continue;
        const std::string what = spec(table).label + " " + print(key) + ": column " + c.name + ", which is not here, ";
        auto t = mine_by_now.find(table);
        if (t == mine_by_now.end() || !t->second.count(key)) return what + "is not kept aside";
        auto kept = t->second.at(key).cells.find(column);
        if (kept == t->second.at(key).cells.end() || !(kept->second.version == cell.version.version) ||
            !(kept->second.value == cell.value))
          return what + "should be kept aside as " + print(cell.value) + " " + print(cell.version.version);
      }
    }
  }
  return "";
}

}  // namespace rejoin::sim
