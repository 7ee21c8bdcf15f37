// What every contract must keep to, wherever it comes from.
#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "contract/contract.h"
#include "contract/text.h"

namespace rejoin::contract {
namespace {

Error refuse(const std::string& place, const std::string& cause) {
  return fail(Code::bad_argument, "contract: " + place + " " + cause);
}

Status check_name(const std::string& place, const std::string& name) {
  if (name.empty()) return refuse(place, "has no name; give it one");
  if (name.size() > kMaxNameBytes) return refuse(place, "has a name of more than 4096 bytes; shorten it");
  if (!is_utf8(name) || name.find('\0') != std::string::npos)
    return refuse(place, "has a name that is not UTF-8 or holds NUL; rename it");
  return {};
}

Status check_default(const std::string& place, const Literal& literal) {
  if (const double* real = std::get_if<double>(&literal); real && std::isnan(*real))
    return refuse(place, "has NaN as its default, which no SQL literal spells; use NULL");
  const auto* text = std::get_if<std::string>(&literal);
  if (text && (!is_utf8(*text) || text->find('\0') != std::string::npos))
    return refuse(place, "has a text default that is not UTF-8 or holds NUL; make it a blob");
  return {};
}

bool strict_type(const std::string& type) {
  return type == "INT" || type == "INTEGER" || type == "REAL" || type == "TEXT" || type == "BLOB" || type == "ANY";
}

Status check_columns(const std::string& place, const Table& table, std::unordered_set<std::string>& names) {
  for (size_t i = 0; i < table.columns.size(); ++i) {
    const Column& column = table.columns[i];
    std::string here = place + ".columns[" + std::to_string(i) + "]";
    REJOIN_TRY(check_name(here, column.name));
    here += " (" + quote_name(table.name) + "." + quote_name(column.name) + ")";
    if (!names.insert(ascii_lower(column.name)).second)
      return refuse(here, "has the name of another column; case does not tell them apart");
    if (canonical_type(column.type) != column.type)
      return refuse(here, "has a type that is not canonical; write " + quote_name(canonical_type(column.type)));
    if (table.strict && !strict_type(column.type))
      return refuse(here, "of a STRICT table has the type " + quote_name(column.type) +
                              "; use INT, INTEGER, REAL, TEXT, BLOB or ANY");
    if (column.default_value) REJOIN_TRY(check_default(here, *column.default_value));
  }
  return {};
}

Status check_key(const std::string& place, const Table& table) {
  if (table.key.empty()) return refuse(place, "has no key; declare a primary key");
  std::unordered_set<std::string> names;
  for (const Column& column : table.columns) names.insert(column.name);
  for (const std::string& name : table.key)
    if (names.erase(name) == 0)
      return refuse(
          place, "has a key column that is not among its columns, or twice in the key; name it once, spelled the same");
  if (!table.integer_key) return {};
  auto column =
      std::find_if(table.columns.begin(), table.columns.end(), [&](const Column& c) { return c.name == table.key[0]; });
  if (table.key.size() != 1 || table.without_rowid || column->type != "INTEGER")
    return refuse(place, "has an integer_key that is none; it takes one key column of type INTEGER and a rowid table");
  return {};
}

}  // namespace

Status check(const Contract& contract) {
  if (contract.tables.size() > kMaxTables) return refuse("tables", "are more than 4096; split the app's database");
  std::unordered_set<std::string> tables;
  for (size_t t = 0; t < contract.tables.size(); ++t) {
    const Table& table = contract.tables[t];
    std::string place = "tables[" + std::to_string(t) + "]";
    REJOIN_TRY(check_name(place, table.name));
    std::string named = place + " (" + quote_name(table.name) + ")";
    std::string lower = ascii_lower(table.name);
    if (lower.starts_with("sqlite_") || lower.starts_with("rejoin_") || lower.find("__rejoin") != std::string::npos)
      return refuse(named, "has a name that SQLite or Rejoin keeps for itself; rename it");
    if (!tables.insert(lower).second)
      return refuse(named, "has the name of another table; case does not tell them apart");
    if (t > 0 && !(contract.tables[t - 1].name < table.name))
      return refuse(named, "is out of order; sort the tables by name");
    if (table.columns.size() > kMaxColumns) return refuse(named, "has more than 32768 columns; split it");
    std::unordered_set<std::string> names;
    REJOIN_TRY(check_columns(place, table, names));
    REJOIN_TRY(check_key(named, table));
  }
  return {};
}

}  // namespace rejoin::contract
