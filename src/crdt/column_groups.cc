#include "crdt/column_groups.h"

#include <utility>

namespace rejoin::crdt {

void ColumnGroups::join(const ColumnSet& columns) {
  if (columns.count() < 2) return;
  ColumnSet all = columns;
  std::vector<ColumnSet> rest;
  for (ColumnSet& group : groups_) {
    if (group.intersects(columns))
      all |= group;
    else
      rest.push_back(std::move(group));
  }
  rest.push_back(std::move(all));
  groups_ = std::move(rest);
}

}  // namespace rejoin::crdt
