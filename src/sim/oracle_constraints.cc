// The oracle's part about tables with constraints: a statement is run on what the application sees, and what it did
// there, row by row, is written to the records.
#include <set>

#include "sim/oracle.h"

namespace rejoin::sim {

Outcome Oracle::constrained(const Step& step, int64_t now_ms) {
  std::vector<Change> changes;
  Outcome outcome = shown_.run(step, versions_, enforced_, mistakes_, changes);
  if (outcome != Outcome::done) return outcome;
  uint64_t low = low_;
  // Rows that might have been displaced take log entries too.
  Open now = stamp(now_ms, changes.size() + 8);
  if (changes.empty()) low_ = low;
  for (const Change& change : changes) {
    const TableSpec& table = spec(change.table);
    OpenRow& row = tables_.at(change.table)[change.key];
    switch (change.kind) {
      case Change::inserted:
        write_insert(change.table, change.key, change.set, now);
        break;
      case Change::removed:
        row.alive = false, row.life = now;
        break;
      case Change::updated: {
        bool checked = false;
        for (const auto& [column, value] : change.set) {
          row.cells[column] = {now, value};
          checked |= column == table.low || column == table.high;
        }
        // Columns of one CHECK are written together.
        for (int column : {table.low, table.high}) {
          if (!checked || mistakes_.check_columns_are_apart) continue;
          auto at = row.cells.find(column);
          row.cells[column] = {
              now, at == row.cells.end() ? table.columns[static_cast<size_t>(column)].default_value : at->second.value};
        }
        break;
      }
    }
  }
  return Outcome::done;
}

Outcome Oracle::toggle_index(int table, size_t which) {
  const TableSpec& now = spec(table);
  const uint32_t bit = uint32_t{1} << which;
  if (!(versions_[table].late & bit) && !mistakes_.late_indexes_are_made_over_anything) {
    std::set<Key> taken;
    for (const auto& [key, row] : shown_.rows.at(table)) {
      Key tuple = claimed(now.late[which], row, mistakes_);
      if (!tuple.empty() && !taken.insert(std::move(tuple)).second) return Outcome::constraint;
    }
  }
  changes();
  versions_[table].late ^= bit;
  return Outcome::done;
}

void Oracle::settle() {
  if (shown_.rows.empty()) return;
  changes();
  std::vector<int> tables;
  for (const auto& entry : shown_.rows) tables.push_back(entry.first);
  Visible now = visible_rows(state(), tables, versions_, mistakes_);
  shown_.rows = std::move(now.rows);
  parked_ = std::move(now.parked);
}

}  // namespace rejoin::sim
