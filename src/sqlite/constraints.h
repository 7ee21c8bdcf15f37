// What a table's UNIQUE indexes, foreign keys and CHECKs mean for the visibility of its rows. Read with the catalog.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "crdt/claim.h"
#include "crdt/column_groups.h"
#include "sqlite/api.h"

namespace rejoin::sqlite {

struct Table;
struct Catalog;

// A UNIQUE index other than the key's.
struct UniqueRule {
  crdt::ColumnSet columns;  // that it reads, through expressions, its condition and generated columns too
  bool key = false;         // it reads columns of the primary key too
  std::vector<crdt::Collation> collations;  // by part
  std::string what;                         // "mail", for people
  std::string tuple;                        // SELECT of the parts and of its condition, for the row with the key ?1 …
  std::string holder;                       // SELECT of the key of the row that has the parts ?1 …
};

// A foreign key of the table's, whose parent table is in this database.
struct ForeignKey {
  std::string parent;      // as the parent is called in its CREATE TABLE
  uint64_t parent_id = 0;  // 0: not tracked
  std::vector<int> from;   // child columns: a column's id, or -1 - the position in the key
  std::vector<int> to;     // likewise in the parent, if it is tracked
  // `to` is the whole primary key of a tracked parent, and `children` finds all that refer to one.
  bool to_key = false;
  std::vector<crdt::Collation> collations;  // of `to`
  // What a tracked parent's row holds in `to` can be told from its values: not of a generated column, nor by a
  // collation of the application's own.
  bool comparable = true;
  // ON DELETE SET NULL or SET DEFAULT: the row is shown without the reference, instead of not at all.
  bool stands_in = false;
  bool to_default = false;
  std::string what;      // "list", for people
  std::string exists;    // SELECT whether a parent has the values ?1 …
  std::string children;  // SELECT of the keys of the child's rows that refer to ?1 … (their order is that of `from`)
  std::string orphans;   // SELECT of the keys of all rows of the child that lack their parent
};

struct Constraints {
  std::vector<UniqueRule> unique;
  std::vector<ForeignKey> parents;
  struct Child {
    uint64_t table;
    size_t key;  // in its `parents`
  };
  std::vector<Child> children;  // foreign keys of tracked tables that refer to this one
  crdt::ColumnSet referring, referred;
  bool stand_ins = false;     // one of `parents` stands_in
  std::string missing;        // SELECT, for the row with the key ?1 …: by foreign key, whether the parent lacks
  crdt::ColumnGroups groups;  // columns of one CHECK or of one composite foreign key
  std::map<std::string, std::string> generated_from;  // expressions of generated columns, by lower_name()
  // Must rows that are written or leave be told of (sqlite/visibility.h)?
  bool refers_or_is_referred() const { return !parents.empty() || !children.empty(); }
};

// Of every table of the catalog. Rows of tables without extra UNIQUE indexes and foreign keys cost nothing by it.
Status read_constraints(sqlite3* db, Catalog& catalog);

}  // namespace rejoin::sqlite
