// Columns that are written together: a write to one counts as a write to all of its group.
#pragma once

#include <vector>

#include "crdt/column_set.h"

namespace rejoin::crdt {

class ColumnGroups {
 public:
  // These columns belong together (and with everything that one of them belongs with already).
  void join(const ColumnSet& columns);
  bool empty() const { return groups_.empty(); }
  // Adds to each member all that belongs with it.
  void expand(ColumnSet& columns) const {
    for (const ColumnSet& group : groups_)
      if (columns.intersects(group)) columns |= group;
  }

 private:
  std::vector<ColumnSet> groups_;  // disjoint, of two columns at least
};

}  // namespace rejoin::crdt
