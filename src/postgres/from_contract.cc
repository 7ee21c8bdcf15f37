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

Status check_name(Connection& db, const std::string& what, const std::string& name) {
  if (name.size() < 64) return {};  // of every PostgreSQL
  REJOIN_ASSIGN(const Rows most, db.query("SELECT current_setting('max_identifier_length')::int8"));
  if (name.size() <= static_cast<size_t>(most.integer(0, 0))) return {};
  return fail(Code::schema_refused, what + " has a name of " + std::to_string(name.size()) +
                                        " bytes, and PostgreSQL cuts off what is beyond " +
                                        std::to_string(most.integer(0, 0)) + "; give it a shorter one");
}

Status check_column_name(Connection& db, const contract::Table& table, const contract::Column& column) {
  const std::string what =
      "column " + contract::quote_name(column.name) + " of table " + contract::quote_name(table.name);
  for (const char* system : {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
    if (column.name == system)
      return fail(Code::schema_refused, what + " has the name of a system column of PostgreSQL's; give it another one");
  return check_name(db, what, column.name);
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
  REJOIN_TRY(check_names(db, nullptr, wanted));
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

// Columns of a contract that a table lacks, as far as is known before it is locked.
struct Lacking {
  int64_t table = 0;
  std::vector<std::pair<contract::Column, std::string>> columns;  // with their SQL
};
// `all`: one that cannot be made is an error; else it is left out.
Result<Lacking> lacking(Connection& db, const Table& table, const contract::Table& wanted, bool all) {
  Lacking out;
  out.table = table.id;
  for (const contract::Column& c : wanted.columns) {
    if (has_column(table, c.name)) continue;
    const Status named = check_column_name(db, wanted, c);
    if (!named.ok() && (all || named.error().code != Code::schema_refused)) return named.error();
    if (!named.ok()) continue;
    REJOIN_ASSIGN(std::string ddl, column_ddl(db, wanted, c));
    out.columns.emplace_back(c, std::move(ddl));
  }
  return out;
}

// Those that are in the table, though the catalog that was read did not have them: whoever made them has synced them,
// or will. `all`: one that is not synced is an error.
Result<Lacking> without_those_there(Connection& db, Lacking lacking, const std::string& relation, bool all) {
  REJOIN_ASSIGN(const Rows names,
                db.query("SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND "
                         "attnum > 0 AND NOT attisdropped",
                         Params().text(relation)));
  const auto is_there = [&](const auto& column) {
    for (size_t i = 0; i < names.size(); ++i)
      if (same_name(names.text(i, 0), column.first.name)) return true;
    return false;
  };
  if (all && std::any_of(lacking.columns.begin(), lacking.columns.end(), is_there)) {
    REJOIN_ASSIGN(const Catalog catalog, load_catalog(db));
    const Table* table = catalog.find(lacking.table);
    for (const auto& column : lacking.columns)
      if (table && is_there(column) && !has_column(*table, column.first.name))
        return fail(Code::untrackable, "its " + table->display + " has a column " +
                                           contract::quote_name(column.first.name) +
                                           " that is not synced; run rejoin pg track " + command_name(*table));
  }
  std::erase_if(lacking.columns, is_there);
  return lacking;
}

// In a transaction: what adds those that are still lacking, and syncs them. The table is locked first, for whoever was
// there before may have added others, which the triggers go on to know.
Result<std::string> columns_sql(Connection& db, const Lacking& wanted, bool all) {
  if (wanted.columns.empty()) return std::string();
  REJOIN_ASSIGN(const Rows relation,
                db.query("SELECT format('%I.%I', n.nspname, c.relname), pg_has_role(c.relowner, 'USAGE') FROM "
                         "rejoin.tracked k JOIN pg_class c ON c.oid = k.relation JOIN pg_namespace n ON n.oid = "
                         "c.relnamespace WHERE k.id = $1::integer",
                         Params().integer(wanted.table)));
  if (relation.empty()) return fail(Code::busy, "a table was untracked meanwhile; try again");
  // Else it would be locked for nothing.
  if (relation.integer(0, 1) == 0)
    return fail(Code::forbidden, "the server's role is not the owner of table " + relation.text(0, 0));
  REJOIN_ASSIGN(const Lacking lacking, without_those_there(db, wanted, relation.text(0, 0), all));
  if (lacking.columns.empty()) return std::string();
  // The lock that ALTER TABLE takes is held until the triggers know the columns too, so no write goes unseen. Rows that
  // are there read as the default, as they do at devices, and nothing has to be told of them.
  REJOIN_TRY(db.script("LOCK TABLE " + relation.text(0, 0) + " IN ACCESS EXCLUSIVE MODE;"));
  REJOIN_ASSIGN(const Catalog catalog, load_catalog(db));
  const Table* table = catalog.find(lacking.table);
  if (!table) return fail(Code::busy, "a table was untracked meanwhile; try again");
  if (!table->served()) return fail(Code::untrackable, why_unserved(*table));
  const std::string id = std::to_string(table->id);
  std::string alter, announce;
  Table grown = *table;
  for (const auto& [c, ddl] : lacking.columns) {
    if (has_column(*table, c.name)) continue;
    alter += "ALTER TABLE " + table->sql + " ADD COLUMN " + ddl + ";";
    announce += "INSERT INTO rejoin.tracked_column(tbl, id, name) SELECT " + id + ", coalesce(max(id) + 1, 0), " +
                quote_text(c.name) + " FROM rejoin.tracked_column WHERE tbl = " + id + ";";
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

Status check_names(Connection& db, const Table* have, const contract::Table& wanted) {
  if (!have) {
    REJOIN_TRY(check_name(db, "table " + contract::quote_name(wanted.name), wanted.name));
  }
  for (const contract::Column& c : wanted.columns)
    if (!have || !has_column(*have, c.name)) REJOIN_TRY(check_column_name(db, wanted, c));
  return {};
}

Status create_and_track(Connection& db, const contract::Table& wanted, const std::string& tenant, Random& random) {
  REJOIN_ASSIGN(TrackRequest request, making(db, wanted, tenant));
  const auto made = track(db, request, random, {});
  if (made.ok()) return {};
  const std::string state = db.last_error().state;
  if (state != "42P07" && state != "23505") return made.error();
  // It is there. Another device's request has made all of it, or an earlier build a part; or it is somebody else's.
  REJOIN_ASSIGN(const bool unfinished, is_half_tracked(db, request.relation, tenant));
  if (!unfinished) return made.error();
  request.make.clear();
  REJOIN_TRY(track(db, request, random, {}));
  return {};
}

Status add_columns(Connection& db, const Table& table, const contract::Table& wanted) {
  REJOIN_ASSIGN(const Lacking columns, lacking(db, table, wanted, false));
  return columns.columns.empty() ? Status() : with_short_locks(db, [&] { return columns_sql(db, columns, false); });
}

Status make_all(Connection& db, const Catalog& have, const contract::Contract& wanted, const std::string& tenant,
                Random& random, const std::function<Result<std::string>()>& first) {
  std::vector<TrackRequest> requests;
  std::vector<Lacking> columns;
  for (const contract::Table& table : wanted.tables) {
    const Table* known = have.meant(table.name);
    if (known && !known->half) {
      if (known->tenant) continue;  // tenants share it: it is not changed for one of them
      REJOIN_ASSIGN(Lacking lacks, lacking(db, *known, table, true));
      if (!lacks.columns.empty()) columns.push_back(std::move(lacks));
      continue;
    }
    for (const Table& t : have.unserved)
      if (!t.half && same_name(t.name, table.name)) return fail(Code::untrackable, why_unserved(t));
    REJOIN_ASSIGN(TrackRequest request, making(db, table, tenant));
    REJOIN_ASSIGN(const bool unfinished, is_half_tracked(db, request.relation, tenant));
    if (unfinished) request.make.clear();
    requests.push_back(std::move(request));
  }
  if (requests.empty() && columns.empty()) return {};
  const auto add = [&]() -> Result<std::string> {
    REJOIN_ASSIGN(std::string sql, first());
    for (const Lacking& lacks : columns) {
      REJOIN_ASSIGN(const std::string part, columns_sql(db, lacks, true));
      sql += part;
    }
    return sql;
  };
  REJOIN_TRY(track_together(db, requests, add, random, {}));
  return {};
}

}  // namespace rejoin::postgres
