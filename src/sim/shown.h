// What the application's tables with constraints hold, and what one statement does to them: SQLite's rules once more,
// naively. Hidden rows are not in them; a stand-in is, as it is shown.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sim/alters.h"
#include "sim/mistakes.h"
#include "sim/script.h"
#include "sim/tables.h"

namespace rejoin::sim {

enum class Outcome { done, constraint, refused };

// What a statement did to one row, in the order in which it happened: this is what capture sees.
struct Change {
  enum Kind { inserted, updated, removed } kind;
  int table;
  Key key;
  std::vector<std::pair<int, Value>> set;  // all columns of a row that was inserted, else those that changed
};

// By table index, then key: every column.
using ShownRows = std::map<int, std::map<Key, std::vector<Value>>>;

class Shown {
 public:
  ShownRows rows;

  // A statement of the script; `enforced`: PRAGMA foreign_keys. On a constraint error nothing changes.
  Outcome run(const Step& step, const TableVersions& versions, bool enforced, const Mistakes& mistakes,
              std::vector<Change>& changes);
  // Puts one row back, if no other and no foreign key is in its way.
  Outcome bring_back(int table, const Key& key, const std::vector<Value>& values, const TableVersions& versions,
                     bool enforced, const Mistakes& mistakes);
};

// Does CHECK (low <= high) hold?
bool check_holds(const TableSpec& spec, const std::vector<Value>& row);
// What a row holds in a UNIQUE index, in a form in which equal values are equal; empty when it holds nothing.
Key claimed(const UniqueSpec& unique, const std::vector<Value>& row, const Mistakes& mistakes);

}  // namespace rejoin::sim
