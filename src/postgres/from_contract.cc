// Tables and columns made from a device's contract (--schema auto).
#include <algorithm>
#include <optional>

#include "postgres/admin.h"
#include "postgres/capture.h"
#include "postgres/short_locks.h"

namespace rejoin::postgres {
namespace {

// A literal default in PostgreSQL's words; nothing where the type has no such value. What a cell reads as that was
// never written must be the same at both ends.
std::optional<std::string> literal_of(const contract::Literal& literal, const std::string& type) {
  if (const auto* v = std::get_if<int64_t>(&literal)) {
    if (type == "boolean") return *v == 0 ? std::optional("false") : *v == 1 ? std::optional("true") : std::nullopt;
    if (type == "bigint" || type == "numeric" || type == "double precision") return std::to_string(*v);
    if (type == "text") return quote_text(std::to_string(*v));
  } else if (const auto* text = std::get_if<std::string>(&literal)) {
    if (type == "text" && text->find('\0') == std::string::npos) return quote_text(*text);
  } else if (const auto* blob = std::get_if<contract::Blob>(&literal)) {
    if (type == "bytea") return "'\\x" + to_hex(blob->bytes) + "'";
  }
  return std::nullopt;
}

std::string column_ddl(const contract::Column& column, const std::string& type) {
  std::string out = quote(column.name) + " " + type;
  if (column.default_value)
    if (const auto literal = literal_of(*column.default_value, type)) out += " DEFAULT " + *literal;
  return out;
}

}  // namespace

bool has_column(const Table& table, std::string_view name) {
  const auto same = [&](const Column& c) { return c.present && same_name(c.name, name); };
  return std::any_of(table.columns.begin(), table.columns.end(), same) ||
         std::any_of(table.key.begin(), table.key.end(), same);
}

Status create_and_track(Connection& db, const contract::Table& wanted, const std::string& tenant, Random& random) {
  // Up to PostgreSQL 14 everybody may make tables in "public": one that cannot be tracked would be in its owner's way.
  REJOIN_ASSIGN(const Rows may, db.query("SELECT has_schema_privilege('rejoin', 'CREATE') AND "
                                         "has_table_privilege('rejoin.tracked', 'INSERT')"));
  if (may.integer(0, 0) == 0)
    return fail(Code::forbidden, "the server's role may not track tables; make \"" + wanted.name +
                                     "\" by SQL and track it as the owner of the schema rejoin");
  std::string sql = "CREATE TABLE public." + quote(wanted.name) + "(";
  for (const contract::Column& c : wanted.columns) {
    const bool key = std::find(wanted.key.begin(), wanted.key.end(), c.name) != wanted.key.end();
    std::string type = sql_type(c.type);
    if (key && type != "bigint" && type != "bytea" && type != "uuid") type = "text";
    sql += column_ddl(c, type) + ", ";
  }
  sql += "PRIMARY KEY(";
  for (size_t i = 0; i < wanted.key.size(); ++i) sql += (i ? ", " : "") + quote(wanted.key[i]);
  if (Status made = db.script(sql + "))"); !made.ok()) return made;
  TrackRequest request;
  request.relation = "public." + quote(wanted.name);
  request.tenant = tenant;
  REJOIN_TRY(track(db, request, random, {}));
  return {};
}

Status add_columns(Connection& db, const Table& table, const contract::Table& wanted) {
  // The lock that ALTER TABLE takes is held until the triggers know the columns too, so no write goes unseen. Rows that
  // are there read as the default, as they do at devices, and nothing has to be told of them.
  std::string alter, announce;
  Table grown = table;
  for (const contract::Column& c : wanted.columns) {
    if (has_column(table, c.name)) continue;
    const std::string type = sql_type(c.type);
    alter += "ALTER TABLE " + table.sql + " ADD COLUMN " + column_ddl(c, type) + ";";
    announce += "INSERT INTO rejoin.tracked_column(tbl, id, name) SELECT " + std::to_string(table.id) +
                ", coalesce(max(id) + 1, 0), " + quote_text(c.name) +
                " FROM rejoin.tracked_column WHERE tbl = " + std::to_string(table.id) + ";";
    Column column;
    column.name = c.name;
    column.quoted = quote(c.name);
    column.type.kind = type == "bytea" ? TypeClass::bytea : TypeClass::text;  // as far as capture cares
    grown.columns.push_back(std::move(column));
  }
  if (alter.empty()) return {};
  return script_with_short_locks(
      db, alter + announce + capture_sql(grown) + "UPDATE rejoin.meta SET catalog = catalog + 1;");
}

}  // namespace rejoin::postgres
