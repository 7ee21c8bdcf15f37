// The contract: which tables a replica syncs, with their columns, keys and defaults, in one canonical form that both
// ends can compare.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace rejoin::contract {

// A literal default: what a cell that was never written reads as. Closed vocabulary: literals only, never SQL text.
// monostate is NULL.
struct Blob {
  Bytes bytes;
  friend bool operator==(const Blob&, const Blob&) = default;
};
using Literal = std::variant<std::monostate, int64_t, double, std::string, Blob>;

struct Column {
  std::string name;
  std::string type;  // canonical_type() of the declared one
  bool not_null = false;
  std::optional<Literal> default_value;  // absent: no default, or one that is not a literal
  friend bool operator==(const Column&, const Column&) = default;
};

struct Table {
  std::string name;
  std::vector<std::string> key;  // names of the primary key's columns, in key order
  std::vector<Column> columns;   // all stored columns, key columns included, in the order of the stable ids
  bool without_rowid = false;
  bool strict = false;
  bool integer_key = false;  // INTEGER PRIMARY KEY: a rowid alias
  friend bool operator==(const Table&, const Table&) = default;
};

struct Contract {
  std::vector<Table> tables;  // sorted by name
  friend bool operator==(const Contract&, const Contract&) = default;
};

inline constexpr size_t kMaxTables = 4096;
inline constexpr size_t kMaxColumns = 32768;  // of one table
inline constexpr size_t kMaxNameBytes = 4096;
inline constexpr size_t kMaxTypeBytes = 255;

// The declared type in the contract's vocabulary: upper-case ASCII words of letters, digits and underscores with one
// blank between them, then perhaps (n) or (n,m); no word that means something else behind a column's name (CHECK, NOT,
// DEFAULT, ...). White space and case are put right; what still does not fit becomes the name of its affinity, so that
// every type is one that both ends can declare.
std::string canonical_type(std::string_view declared);

// Is this a contract that both ends can rely on: within the limits; names in UTF-8 without NUL, unlike each other also
// when case is ignored (ASCII, as SQLite does), and not reserved (sqlite_*, rejoin_*, *__rejoin*); tables sorted; types
// canonical, in STRICT tables the six that STRICT knows; a key of columns that exist; an integer key that is one;
// defaults that SQL literals can spell (no NaN, texts in UTF-8 without NUL)? Errors: bad_argument naming the place, the
// cause and the cure.
Status check(const Contract& contract);

// Canonical JSON: keys sorted, no white space, tables by name. Equal contracts have equal text. docs/contract.md
// describes it.
std::string to_json(const Contract& contract);
// Reads strictly: each member once, none unknown, none missing but `default` and `merge`; white space and any order are
// fine. What it gives has passed check(). Errors: bad_argument naming the place.
Result<Contract> from_json(std::string_view json);
// XXH3-128 of the canonical JSON, 32 hex digits: names a contract, proves nothing about who wrote it.
std::string fingerprint(const Contract& contract);

// CREATE TABLE statement for SQLite, without a semicolon. Built from the closed vocabulary only, names quoted. `table`
// belongs to a contract that passed check().
std::string sqlite_ddl(const Table& table);
// The column's part of such a statement, as ALTER TABLE ADD COLUMN takes it too: "name" TYPE DEFAULT literal (NOT NULL
// only with a default).
std::string sqlite_column_ddl(const Column& column);
// "name" with inner quotes doubled.
std::string quote_name(std::string_view name);

struct Difference {
  enum class Kind {
    table_added,
    table_removed,
    column_added,
    column_removed,
    column_changed,  // type, NOT NULL or default
    key_changed,     // the key's columns or their order, or whether it is a rowid alias
    table_changed,   // STRICT or WITHOUT ROWID
  } kind;
  std::string table;
  std::string column;  // empty unless the kind is about a column
  friend bool operator==(const Difference&, const Difference&) = default;
};
// What `after` has that `before` has not, and the other way round, by table name, then by column in before's and
// after's order. The order of columns alone is no difference.
std::vector<Difference> diff(const Contract& before, const Contract& after);
// For people: "column todos.done was removed".
std::string to_text(const Difference& difference);
// Of diff(before, after), what a device of `before` could not go on with. Nothing: every table and column of `before`
// is in `after` unchanged, and new columns of its tables are nullable or have a default that is not NULL.
std::vector<Difference> not_additive(const Contract& before, const Contract& after);

}  // namespace rejoin::contract
