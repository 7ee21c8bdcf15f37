// Tables and columns made from a device's contract (--schema auto).
#include <algorithm>
#include <charconv>
#include <optional>

#include "postgres/admin.h"
#include "postgres/capture.h"
#include "postgres/short_locks.h"

namespace rejoin::postgres {
namespace {

using crdt::OwnedValue;
using crdt::ValueRef;

// The number that SQLite takes a text for, or nothing.
std::optional<OwnedValue> number_in(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  const size_t first = text.find_first_not_of("-.");
  if (first == std::string_view::npos || text[first] < '0' || text[first] > '9') return std::nullopt;
  const char* const end = text.data() + text.size();
  int64_t integer = 0;
  if (const auto read = std::from_chars(text.data(), end, integer); read.ec == std::errc() && read.ptr == end)
    return OwnedValue::of(ValueRef::of_integer(integer));
  double real = 0;
  if (const auto read = std::from_chars(text.data(), end, real); read.ec == std::errc() && read.ptr == end)
    return OwnedValue::of(ValueRef::of_real(real));
  return std::nullopt;
}

// What a device's column of this type reads a literal default as
// (https://www.sqlite.org/datatype3.html#type_affinity). Nothing: a number as text, which SQLite spells in its own way.
std::optional<OwnedValue> device_reads(const contract::Literal& literal, const contract::Column& column, bool strict) {
  constexpr double kExact = 9007199254740992.0;  // integers up to here are doubles too
  const auto has = [&](std::string_view word) { return column.type.find(word) != std::string::npos; };
  const bool integers = has("INT");
  const bool texts = !integers && (has("CHAR") || has("CLOB") || has("TEXT"));
  const bool anything =
      (!integers && !texts && (column.type.empty() || has("BLOB"))) || (strict && column.type == "ANY");
  const bool reals = !integers && !texts && !anything && (has("REAL") || has("FLOA") || has("DOUB"));
  OwnedValue value;
  if (const auto* integer = std::get_if<int64_t>(&literal)) {
    value = OwnedValue::of(ValueRef::of_integer(*integer));
    if (texts) return OwnedValue::of(ValueRef::of_text(std::to_string(*integer)));
  } else if (const auto* real = std::get_if<double>(&literal)) {
    if (texts) return std::nullopt;
    value = OwnedValue::of(ValueRef::of_real(*real));
  } else if (const auto* text = std::get_if<std::string>(&literal)) {
    const auto number = texts || anything ? std::nullopt : number_in(*text);
    if (!number) return OwnedValue::of(ValueRef::of_text(*text));
    value = *number;
  } else {
    const auto* blob = std::get_if<contract::Blob>(&literal);
    return OwnedValue::of(ValueRef::of_blob(blob ? BytesView(blob->bytes) : BytesView()));
  }
  const ValueRef number = value.ref();
  if (anything) return value;
  if (reals && number.type == crdt::ValueType::integer)
    return OwnedValue::of(ValueRef::of_real(static_cast<double>(number.integer)));
  if (!reals && number.type == crdt::ValueType::real && number.real >= -kExact && number.real <= kExact &&
      number.real == static_cast<double>(static_cast<int64_t>(number.real)))
    return OwnedValue::of(ValueRef::of_integer(static_cast<int64_t>(number.real)));
  return value;
}

// The default of a new column, in PostgreSQL's words. What a cell reads as that was never written must be the same at
// both ends, so PostgreSQL is asked what it makes of it.
struct Default {
  std::string sql;      // "": it has none
  std::string trouble;  // why the column can have none, though the contract has
};
Result<Default> default_of(Connection& db, const contract::Column& column, const std::string& type, bool strict) {
  if (!column.default_value || std::holds_alternative<std::monostate>(*column.default_value)) return Default{};
  const std::string as = "a column of PostgreSQL's type " + type;
  const std::optional<OwnedValue> value = device_reads(*column.default_value, column, strict);
  if (!value) return Default{"", "a number as text has several spellings"};
  const std::string base = type == "boolean"            ? "bool"
                           : type == "bigint"           ? "int8"
                           : type == "double precision" ? "float8"
                                                        : type;
  const std::optional<Type> of = type_of("b", "", base, type);
  if (!of) return fail(Code::internal, "no counterpart of " + type);
  const Result<std::string> text = text_of(*of, value->ref());
  if (!text.ok()) return Default{"", text.error().message};
  // As begin_settings() has them, on which the text form of a value depends.
  db.send("BEGIN READ ONLY");
  db.send(
      "SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, YMD', true), "
      "set_config('extra_float_digits', '1', true)");
  db.send("SELECT " + read_expression(*of, "(" + write_expression(*of, "$1::text") + ")"), Params().text(*text));
  const auto asked = db.sync();
  const std::string said = asked.ok() ? "" : db.last_error().message;
  const bool no_value = !asked.ok() && db.last_error().state.starts_with("22");
  if (db.usable() && db.in_transaction()) REJOIN_TRY(db.query("ROLLBACK"));
  if (no_value) return Default{"", as + " cannot hold it (" + said + ")"};
  if (!asked.ok()) return asked.error();
  const std::string back = asked->back().text(0, 0);
  if (!crdt::same_value(value_of(*of, back).ref(), value->ref()))
    return Default{"", as + " gives it back as another value, " + quote_text(back)};
  if (type == "boolean") return Default{*text, ""};
  if (value->ref().type == crdt::ValueType::integer && type != "text") return Default{*text, ""};
  if (type == "bytea") return Default{"'\\x" + *text + "'", ""};
  return Default{quote_text(*text) + (type == "text" ? "" : "::" + type), ""};
}

// Of a column in the key, or beside it.
std::string type_for(const contract::Table& table, const contract::Column& column) {
  const std::string type = sql_type(column.type);
  const bool key = std::find(table.key.begin(), table.key.end(), column.name) != table.key.end();
  return key && type != "bigint" && type != "bytea" && type != "uuid" ? "text" : type;
}

Result<std::string> column_ddl(Connection& db, const contract::Table& table, const contract::Column& column) {
  const std::string type = type_for(table, column);
  REJOIN_ASSIGN(const Default literal, default_of(db, column, type, table.strict));
  return quote(column.name) + " " + type + (literal.sql.empty() ? "" : " DEFAULT " + literal.sql);
}

// Is the table that is there under this name one that was made from this contract and not tracked, because that ended
// in between? Empty, of this role, with these columns and nothing besides.
Result<bool> is_left_behind(Connection& db, const contract::Table& wanted, const std::string& relation) {
  REJOIN_ASSIGN(
      const Rows bare,
      db.query("SELECT c.oid FROM pg_class c WHERE c.oid = to_regclass($1) AND c.relkind = 'r' AND c.relowner = "
               "current_user::regrole AND NOT c.relrowsecurity AND c.relacl IS NULL AND NOT EXISTS (SELECT FROM "
               "pg_trigger g WHERE g.tgrelid = c.oid) AND (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid) = "
               "1 AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conrelid = c.oid AND o.contype NOT IN ('p', "
               "'n')) AND NOT EXISTS (SELECT FROM rejoin.tracked k WHERE k.relation = c.oid)",
               Params().text(relation)));
  if (bare.empty()) return false;
  REJOIN_ASSIGN(const Rows columns,
                db.query("SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a WHERE "
                         "a.attrelid = to_regclass($1) AND a.attnum > 0 ORDER BY a.attnum",
                         Params().text(relation)));
  bool same = columns.size() == wanted.columns.size();
  for (size_t i = 0; same && i < columns.size(); ++i) {
    const std::string type = type_for(wanted, wanted.columns[i]);
    same = columns.text(i, 0) == wanted.columns[i].name &&
           columns.text(i, 1) == (type == "timestamptz" ? "timestamp with time zone" : type);
  }
  if (!same) return false;
  REJOIN_ASSIGN(const Rows rows, db.query("SELECT EXISTS (SELECT FROM " + relation + ")"));
  return rows.integer(0, 0) == 0;
}

// Is it one that is only in rejoin.tracked, for this tenant?
Result<bool> is_half_tracked(Connection& db, const std::string& relation, const std::string& tenant) {
  REJOIN_ASSIGN(const Catalog catalog, load_catalog(db));
  return std::any_of(catalog.tables.begin(), catalog.tables.end(),
                     [&](const Table& t) { return t.half && t.owner == tenant && t.sql == relation; });
}

// What makes the table and tracks it.
Result<TrackRequest> making(Connection& db, const contract::Table& wanted, const std::string& tenant) {
  // Up to PostgreSQL 14 everybody may make tables in "public": one that cannot be tracked would be in its owner's way.
  REJOIN_ASSIGN(const Rows may, db.query("SELECT has_schema_privilege('rejoin', 'CREATE') AND "
                                         "has_table_privilege('rejoin.tracked', 'INSERT')"));
  if (may.integer(0, 0) == 0)
    return fail(Code::forbidden, "the server's role may not track tables; make \"" + wanted.name +
                                     "\" by SQL and track it as the owner of the schema rejoin");
  TrackRequest request;
  request.relation = quote("public") + "." + quote(wanted.name);
  request.tenant = tenant;
  request.make = "CREATE TABLE " + request.relation + "(";
  for (const contract::Column& c : wanted.columns) {
    REJOIN_ASSIGN(const std::string column, column_ddl(db, wanted, c));
    request.make += column + ", ";
  }
  request.make += "PRIMARY KEY(";
  for (size_t i = 0; i < wanted.key.size(); ++i) request.make += (i ? ", " : "") + quote(wanted.key[i]);
  request.make += "));";
  return request;
}

// Was all or a part of what the request makes left there by an earlier build?
Result<bool> is_unfinished(Connection& db, const contract::Table& wanted, const TrackRequest& request) {
  REJOIN_ASSIGN(const bool half, is_half_tracked(db, request.relation, request.tenant));
  if (half) return true;
  return is_left_behind(db, wanted, request.relation);
}

// What adds the columns that the table lacks, and syncs them; empty: it has all.
Result<std::string> columns_sql(Connection& db, const Table& table, const contract::Table& wanted) {
  // The lock that ALTER TABLE takes is held until the triggers know the columns too, so no write goes unseen. Rows that
  // are there read as the default, as they do at devices, and nothing has to be told of them.
  std::string alter, announce;
  Table grown = table;
  for (const contract::Column& c : wanted.columns) {
    if (has_column(table, c.name)) continue;
    REJOIN_ASSIGN(const std::string ddl, column_ddl(db, wanted, c));
    alter += "ALTER TABLE " + table.sql + " ADD COLUMN " + ddl + ";";
    announce += "INSERT INTO rejoin.tracked_column(tbl, id, name) SELECT " + std::to_string(table.id) +
                ", coalesce(max(id) + 1, 0), " + quote_text(c.name) +
                " FROM rejoin.tracked_column WHERE tbl = " + std::to_string(table.id) + ";";
    Column column;
    column.name = c.name;
    column.quoted = quote(c.name);
    column.type.kind = sql_type(c.type) == "bytea" ? TypeClass::bytea : TypeClass::text;  // as far as capture cares
    grown.columns.push_back(std::move(column));
  }
  if (alter.empty()) return alter;
  return alter + announce + capture_sql(grown) + "UPDATE rejoin.meta SET catalog = catalog + 1;";
}

}  // namespace

bool has_column(const Table& table, std::string_view name) {
  const auto same = [&](const Column& c) { return c.present && same_name(c.name, name); };
  return std::any_of(table.columns.begin(), table.columns.end(), same) ||
         std::any_of(table.key.begin(), table.key.end(), same);
}

Status check_defaults(Connection& db, const Table* have, const contract::Table& wanted) {
  for (const contract::Column& c : wanted.columns) {
    if (have && has_column(*have, c.name)) continue;
    REJOIN_ASSIGN(const Default literal, default_of(db, c, type_for(wanted, c), wanted.strict));
    if (!literal.trouble.empty())
      return fail(Code::schema_refused,
                  "the default of column " + contract::quote_name(c.name) + " of table " +
                      contract::quote_name(wanted.name) + " cannot be the same in PostgreSQL: " + literal.trouble +
                      ". Give the column another type or default, or make it in PostgreSQL by SQL and track it, then "
                      "push again");
  }
  return {};
}

Status create_and_track(Connection& db, const contract::Table& wanted, const std::string& tenant, Random& random) {
  REJOIN_ASSIGN(TrackRequest request, making(db, wanted, tenant));
  const auto made = track(db, request, random, {});
  if (made.ok()) return {};
  const std::string state = db.last_error().state;
  if (state != "42P07" && state != "23505") return made.error();
  // It is there. Another device's request has made all of it, or an earlier build a part.
  REJOIN_ASSIGN(const bool unfinished, is_unfinished(db, wanted, request));
  if (!unfinished) return made.error();
  request.make.clear();
  REJOIN_TRY(track(db, request, random, {}));
  return {};
}

Status add_columns(Connection& db, const Table& table, const contract::Table& wanted) {
  REJOIN_ASSIGN(const std::string sql, columns_sql(db, table, wanted));
  return sql.empty() ? Status() : script_with_short_locks(db, sql);
}

Status make_all(Connection& db, const Catalog& have, const contract::Contract& wanted, const std::string& tenant,
                Random& random) {
  std::vector<TrackRequest> requests;
  std::string columns;
  for (const contract::Table& table : wanted.tables) {
    const Table* known = have.meant(table.name);
    if (known && !known->half) {
      if (known->tenant) continue;  // tenants share it: it is not changed for one of them
      REJOIN_ASSIGN(const std::string sql, columns_sql(db, *known, table));
      columns += sql;
      continue;
    }
    REJOIN_ASSIGN(TrackRequest request, making(db, table, tenant));
    REJOIN_ASSIGN(const bool unfinished, is_unfinished(db, table, request));
    if (unfinished) request.make.clear();
    requests.push_back(std::move(request));
  }
  if (requests.empty() && columns.empty()) return {};
  REJOIN_TRY(track_together(db, requests, columns, random, {}));
  return {};
}

}  // namespace rejoin::postgres
