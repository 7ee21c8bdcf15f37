// PostgreSQL's types as SQLite's five values, both ways. docs/postgres.md has the table.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "crdt/value.h"

namespace rejoin::postgres {

enum class TypeClass {
  integer,
  real,
  boolean,
  numeric,
  text,
  uuid,
  timestamptz,
  timestamp,
  date,
  time,
  json,
  bytea,
  array
};

struct Type {
  TypeClass kind = TypeClass::text;
  std::string sql;      // as format_type() says it, for casts: "character varying(40)", "public.mood", "integer[]"
  std::string base;     // pg_type.typname of the type itself, or of what a domain stands for
  bool single = false;  // real: single precision
  // Character strings, and domains over them: assigned as text. An explicit cast to varchar(3) would cut a longer value
  // off without a word, an assignment refuses it.
  bool characters = false;
  int64_t least = 0, most = 0;  // integer: its range
};

// The type of a column, or nothing: one that has no counterpart. Of the type itself, or of what a domain stands for:
// `kind` is pg_type.typtype, `category` typcategory, `base` typname. `sql`: format_type() of the column. An array's
// elements are of `element` (typname, or "enum").
std::optional<Type> type_of(std::string_view kind, std::string_view category, std::string_view base,
                            const std::string& sql, std::string_view element = "");

// May a column of this type be in a key? Only types whose text form is one for each value.
bool fits_key(const Type& type);

// What the contract calls it: INTEGER, REAL, BOOLEAN, NUMERIC, TEXT, BLOB, ….
std::string contract_type(const Type& type);
// The PostgreSQL type that a contract's type is created as: INTEGER -> bigint, TEXT -> text, ….
std::string sql_type(std::string_view contract_type);

// How a column is read: as text (bytea as hex), whatever the session's settings but those of begin_settings(). `column`
// is quoted.
std::string read_expression(const Type& type, const std::string& column);
// How a text parameter becomes a value of the type.
std::string write_expression(const Type& type, const std::string& parameter);

// The same for a key by which rows are looked for: of a domain's own type, for a domain's CHECK and a type's precision
// are about what may be there, not about what may be asked for.
std::string key_expression(const Type& type, const std::string& parameter);

// A value from its text form. Never fails: what is no number for SQLite (NaN) stays text.
crdt::OwnedValue value_of(const Type& type, std::string_view text);
// The text form that write_expression() takes, or an error that says why the type cannot hold the value (bad_argument).
// PostgreSQL itself judges the rest. Null is not for here.
Result<std::string> text_of(const Type& type, const crdt::ValueRef& value);
// Is a key's value, as it was stored or captured, one of this type? No row is there under one of an earlier type: of
// another kind, of a wider range, a day that no calendar has. PostgreSQL takes the text_of() of one that is.
bool holds_key(const Type& type, const crdt::ValueRef& value);
// As text_of(), of a key's value that a device sends, which must be the one spelling that PostgreSQL gives back.
Result<std::string> key_text_of(const Type& type, const crdt::ValueRef& value);

// Is a tenant's name what a tenant column of this type says of itself? "007" and an upper-case UUID name nobody's rows.
bool names_tenant(const Type& type, std::string_view tenant);

// Well-formed UTF-8 without NUL: what a text in PostgreSQL can be.
bool is_storable_text(std::string_view text);

// Will PostgreSQL give back exactly this value? False: look.
bool comes_back(const Type& type, const crdt::ValueRef& v);

}  // namespace rejoin::postgres
