// The tracked tables as the database declares them now: columns by stable id, keys, affinities, defaults.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "contract/contract.h"
#include "crdt/value.h"
#include "sqlite/api.h"
#include "sqlite/constraints.h"

namespace rejoin::sqlite {

using crdt::OwnedValue;

enum class Affinity : char { blob, text, numeric, integer, real };

struct Column {
  std::string name;
  std::string type;
  Affinity affinity = Affinity::blob;
  bool not_null = false;
  bool literal_default = false;  // false: no default, or one that is not a literal (then a bottom cell reads as NULL)
  OwnedValue default_value;
  std::string default_text;  // as it is declared; empty: none
  bool present = true;       // false: dropped from the table; the id stays taken
};

// A name that a column had before: replicas that have not renamed it yet still call it so.
struct FormerName {
  int64_t column;  // id; -1 - i for the i-th key column
  std::string name;
};

struct Table {
  uint64_t id = 0;
  std::string name;
  bool without_rowid = false;
  bool strict = false;
  bool integer_key = false;  // INTEGER PRIMARY KEY: a rowid alias
  bool allow_integer_key = false;
  bool keep_deleted = true;
  bool app_triggers = false;         // the application has triggers on it
  bool triggers_roll_back = false;   // ... that may roll the transaction back
  bool deletions_roll_back = false;  // ... for deletions
  bool triggers_leave = false;       // ... and what one has written that refuses a row may stay (read_app_triggers)
  bool in_triggers = false;          // a trigger of the application's names it, and so may write to it
  std::vector<Column> key;           // in key order
  std::vector<Column> columns;       // the others, by id; generated columns are not among them
  std::vector<std::string>
      unannounced;  // stored columns of the table that have no id yet (an ALTER TABLE nobody told us of)
  std::vector<std::string> generated;  // names of generated columns
  std::string computed;                // as SQL: what indexes compute, of what SQLite may fail to compute; "": nothing
  // UNIQUE indexes other than the key's.
  struct UniqueIndex {
    struct Part {
      std::string column;  // "" is an expression
      std::string expression;
      std::string collation;
    };
    std::vector<Part> parts;
    std::string where;  // of a partial index
  };
  std::vector<UniqueIndex> unique;
  Constraints constraints;  // filled by load_catalog
  std::vector<FormerName> former;
  std::vector<std::string> former_names;  // of the table itself

  std::string quoted() const;
  std::string records() const { return records_name; }  // "t__rejoin", quoted
  std::string shadow() const { return shadow_name; }    // "t__rejoin_dead", quoted
  std::string gone() const { return gone_name; }        // "t__rejoin_gone", quoted
  std::string records_name, shadow_name, gone_name;
  // The name by which a table with these columns calls its rowid; "" when columns have taken all three.
  std::string rowid_name() const;
  // SQL text fragments: `"k1", "k2"`, `"a", "b"`, `"k1"=?1 AND "k2"=?2`
  std::string key_list() const;
  std::string column_list() const;
  std::string key_match(int first = 1) const;
};

std::string records_table(std::string_view table);
std::string shadow_table(std::string_view table);
std::string gone_table(std::string_view table);
std::string copy_table(std::string_view table);  // of a table that is being altered

struct Catalog {
  std::vector<std::unique_ptr<Table>> tables;  // by id
  Table* find(std::string_view name) const;    // as SQLite compares names: ASCII case-insensitive
  Table* find(uint64_t id) const;
  // The table with this name, else the one that had it before.
  Table* find_named(std::string_view name) const;
};

// As SQLite compares names of tables and columns.
bool same_name(std::string_view a, std::string_view b);

// Are these, in this order, the names of the key columns, now or before?
bool names_key(const Table& table, const std::vector<std::string>& names);

Affinity affinity_of(std::string_view declared_type);

// How a base table is declared. Errors: not_found. Fills everything of Table but id, options, triggers and ids of
// columns (all stored non-key columns in declaration order).
Result<Table> describe_table(sqlite3* db, const std::string& name);
// Is there a base table of this name? A file or a memory that fails is no answer: SQLite may have rolled the
// transaction back for it.
Result<bool> is_table(sqlite3* db, const std::string& name);

// Reads rejoin_table and rejoin_column and joins them with the declarations. Tracked tables that were dropped are left
// out.
Result<Catalog> load_catalog(sqlite3* db);

contract::Table to_contract(const Table& table);

}  // namespace rejoin::sqlite
