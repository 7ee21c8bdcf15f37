// The tracked tables as PostgreSQL declares them now.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "contract/contract.h"
#include "crdt/column_set.h"
#include "postgres/connection.h"
#include "postgres/types.h"

namespace rejoin::postgres {

struct Column {
  std::string name;
  std::string quoted;
  Type type;
  bool not_null = false;
  bool has_default = false;  // or is an identity column
  bool present = true;       // false: dropped from the table; the id stays taken
  bool constant = false;     // its default is one value, whenever and for whomever it is filled in
  int64_t number = 0;        // attnum, which a rename keeps
};

struct Table {
  int64_t id = 0;
  int64_t oid = 0;
  std::string shape;                     // shape_of() when it was read
  std::string name;                      // in the contract: what devices call it
  std::string sql;                       // "public"."todos"
  std::string display;                   // public.todos
  std::string relation;                  // todos
  std::vector<Column> key;               // in key order, without the tenant column
  std::vector<Column> columns;           // the others, by stable id
  std::vector<std::string> unannounced;  // columns without an id yet: track again
  std::optional<Column> tenant;          // the column that holds the tenant's name
  std::string owner;                     // without such a column: the tenant whose rows they are
  bool tenant_in_key = false;
  bool before_triggers = false;  // a row may be stored otherwise than it was sent
  bool triggers = false;         // of the application's: what is written here may be followed by writes elsewhere
  crdt::ColumnSet unique;        // columns of UNIQUE constraints and indexes besides the key
  std::vector<int64_t> parents;  // tracked tables that its foreign keys reference
  std::vector<int64_t> deferred_parents;  // by foreign keys that are DEFERRABLE
  // It is in rejoin.tracked, and that is all: an older build ended before it made the rest. track() does.
  bool half = false;
  // Its PRIMARY KEY was another when capture was made for it: the columns that were, "" when it is the same. Its
  // records are by that one.
  std::string key_was;
  // Devices know it by the name that it had when it was tracked, so it is followed when it is renamed; not so by one
  // that --as gave.
  bool own_name = false;
  std::vector<std::string> uncaptured;  // columns that are synced, and that its capture does not know
  bool truncates_unseen = false;        // an earlier build's capture, which does not follow a rename
  bool served() const { return !half && key_was.empty(); }
};

// As SQLite compares names: ASCII letters' case is ignored.
bool same_name(std::string_view a, std::string_view b);

struct Catalog {
  int64_t version = -1;
  std::vector<Table> tables;                       // by id
  std::vector<Table> unserved;                     // of which nothing arrives or leaves; not in `tables`
  std::vector<std::string> taken;                  // names of others: of other tenants', dropped and unserved tables
  std::vector<std::string> dropped;                // of these, the tables that are no more
  std::vector<size_t> parents_first;               // indexes into `tables`
  const Table* find(std::string_view name) const;  // by same_name()
  // Which table does a device mean? The one that devices know by this name, else the one that PostgreSQL does: a
  // renamed table keeps its name for devices, and an app that renames it too calls it by the new one. What another
  // table is or was called by --as, or is called elsewhere, is never taken for a rename.
  const Table* meant(std::string_view name) const;
  const Table* find(int64_t id) const;
  const Table* find_unserved(int64_t id) const;
  // For a WHERE about the outbox, whose entries of unserved tables stay until these come back: " AND …", or nothing.
  std::string but_unserved() const;
  size_t index_of(const Table& table) const { return static_cast<size_t>(&table - tables.data()); }
};

// An expression that changes with the name, columns, key and triggers of a table, whoever alters it: the catalog is
// kept between requests, and a request that finds another shape reads it anew. `oid`: an expression too.
std::string shape_of(const std::string& oid);

std::string quote(std::string_view name);
std::string quote_text(std::string_view text);

// A word, and a table's name, as they are typed after a command in a shell: 'public."My Todos"' with its quotes.
std::string in_shell(const std::string& word);
std::string command_name(const Table& table);

// Why a table is not served, and the cure.
std::string why_unserved(const Table& table);

// Reads rejoin.tracked and the declarations of its tables. Tables that were dropped are left out. When `tenant` is
// given, so are another tenant's, and those that cannot be served stand aside.
Result<Catalog> load_catalog(Connection& db, const std::optional<std::string>& tenant = std::nullopt);

// One table as declared, before it is tracked: `relation` is what to_regclass() takes. Everything of Table but id, name
// and parents; columns in declaration order. Errors: not_found, untrackable (with the cure).
Result<Table> describe_table(Connection& db, const std::string& relation, const std::string& tenant_column);

contract::Contract to_contract(const Catalog& catalog);

}  // namespace rejoin::postgres
