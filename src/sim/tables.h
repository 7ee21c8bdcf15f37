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
  std::vector<Value> values = {};  // not empty: only these
  bool references = false;         // they are keys of another table, or NULL
  bool absent = false;             // sim/alters.h
};

// One change of a table, in the order in which every replica makes them.
struct AlterSpec {
  enum Kind { add, drop, rename, rename_table, rekey, create_index, drop_index } kind;
  std::string sql;  // rekey: one statement a line
  int column = -1;  // of TableSpec::columns: what is added, dropped, renamed; of TableSpec::unique: what is dropped
  int to = -1;      // what it is renamed to
  std::string name = {};              // what the table is renamed to
  std::vector<std::string> key = {};  // rekey: the key's columns from then on
};

// A UNIQUE index of up to a few columns.
struct UniqueSpec {
  std::vector<int> columns;
  bool nocase = false;
  int where_zero = -1;    // partial: of the rows in which this column is 0
  std::string name = {};  // of one that comes late
};

enum class OnDelete { cascade, set_null, restrict };

// A foreign key on the parent's primary key, which has one column.
struct ReferenceSpec {
  int column;
  std::string parent;  // its label
  OnDelete on_delete;
};

struct TableSpec {
  std::string label;  // what a script calls it
  std::string name;   // what SQL calls it
  std::string create;
  std::vector<std::string> key;
  std::vector<ColumnSpec> columns;  // the others, generated ones left out
  std::vector<Key> keys;            // those that scripts use: few, so that replicas meet
  bool allow_integer_key = false;
  std::vector<UniqueSpec> unique = {};
  std::vector<ReferenceSpec> references = {};
  int low = -1, high = -1;  // CHECK (low <= high)
  bool constrained = false;
  // UNIQUE indexes that a replica makes and drops when it likes, whatever the others do.
  std::vector<UniqueSpec> late = {};
  std::vector<AlterSpec> alters = {};
  int version = 0;      // how many of them are made (sim/alters.h)
  int name_number = 0;  // and how often it was renamed or got another key
  int key_number = 0;   // which of these numbers it had when it got this key
  // For each column of the key, which one of the first key that was; -1: a new one, which is kNewInKey in every row.
  std::vector<int> key_from = {};
};

// All of them; scripts use indexes into this list.
const std::vector<TableSpec>& table_specs();
// Tables with constraints, parents first (sim/constrained_tables.cc). A script has all up to one of them, or none.
std::vector<TableSpec> constrained_tables();
// Tables that change while scripts run (sim/altered_tables.cc).
std::vector<TableSpec> altered_tables();
// Tables with constraints that change, parents first; a script has all of them, or none.
std::vector<TableSpec> altered_constrained_tables();
// The index, or -1.
int table_index(std::string_view label);

extern const char* const kNewInKey;
// A key as the table has it now, from one of TableSpec::keys.
Key key_now(const TableSpec& spec, const Key& key);

// "name", inner quotes doubled.
std::string quoted(std::string_view name);

}  // namespace rejoin::sim
