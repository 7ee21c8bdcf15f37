// The oracle's part about tables that change. A replica knows of columns that it does not have what it has heard of
// them: its records have those cells too, and they show when the column comes.
#include "sim/oracle.h"

namespace rejoin::sim {

void Oracle::alter(int table) {
  const AlterSpec& change = spec(table).alters[static_cast<size_t>(versions_[table]++)];
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

std::string Oracle::check_aside(const State& aside, bool whole) {
  for (const auto& [table, rows] : aside) {
    const TableSpec& here = spec(table);
    for (const auto& [key, row] : rows) {
      std::string what = here.label + " " + print(key) + ", kept aside";
      auto at = tables_.at(table).find(key);
      if (at == tables_.at(table).end()) return what + ": a row that nobody wrote: " + print(row);
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
  for (const auto& [table, rows] : tables_) {
    for (const auto& [key, row] : rows) {
      for (const auto& [column, cell] : row.cells) {
        const ColumnSpec& c = spec(table).columns[static_cast<size_t>(column)];
        if (!c.absent) continue;
        const std::string what = spec(table).label + " " + print(key) + ": column " + c.name + ", which is not here, ";
        auto t = aside.find(table);
        if (t == aside.end() || !t->second.count(key)) return what + "is not kept aside";
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
