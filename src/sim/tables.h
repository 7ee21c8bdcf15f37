// The tables that scripts use: one for every way in which a table can be awkward. A closed list, so that a script only
// names them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sim/value.h"

namespace rejoin::sim {

// Which values a column is given. Always such that the column's affinity leaves them as they are, so the oracle needs
// no affinity rules.
enum class Kind { any, integer, real, text, blob, integer_strict, real_strict, text_strict, any_not_null };

struct ColumnSpec {
  std::string name;
  Kind kind = Kind::any;
  Value default_value;
};

struct TableSpec {
  std::string label;  // what a script calls it
  std::string name;   // what SQL calls it
  std::string create;
  std::vector<std::string> key;
  std::vector<ColumnSpec> columns;  // the others, generated ones left out
  std::vector<Key> keys;            // those that scripts use: few, so that replicas meet
  bool allow_integer_key = false;
};

// All of them; scripts use indexes into this list.
const std::vector<TableSpec>& table_specs();
// The index, or -1.
int table_index(std::string_view label);

// "name", inner quotes doubled.
std::string quoted(std::string_view name);

}  // namespace rejoin::sim
