// SQL for SQLite, made of quoted names, types of the vocabulary and literals, and of nothing else.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "contract/contract.h"

namespace rejoin::contract {
namespace {

std::string quoted(std::string_view text, char quote) {
  std::string out(1, quote);
  for (char c : text) {
    if (c == quote) out.push_back(quote);
    out.push_back(c);
  }
  out.push_back(quote);
  return out;
}

std::string literal_sql(const Literal& literal) {
  struct Writer {
    std::string operator()(std::monostate) { return "NULL"; }
    std::string operator()(int64_t v) { return std::to_string(v); }
    std::string operator()(double v) {
      if (std::isinf(v)) return v < 0 ? "-9e999" : "9e999";
      char buffer[32];
      auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, v);
      std::string out(buffer, end);
      // Without a point or an exponent SQLite would read an integer.
      if (out.find_first_of(".e") == std::string::npos) out += ".0";
      return out;
    }
    std::string operator()(const std::string& v) { return quoted(v, '\''); }
    std::string operator()(const Blob& v) { return "X'" + to_hex(v.bytes) + "'"; }
  };
  return std::visit(Writer{}, literal);
}

std::string name_and_type(const Column& column) {
  std::string out = quote_name(column.name);
  if (!column.type.empty() && canonical_type(column.type) == column.type) out += " " + column.type;
  return out;
}

}  // namespace

std::string quote_name(std::string_view name) { return quoted(name, '"'); }

std::string sqlite_column_ddl(const Column& column) {
  std::string out = name_and_type(column);
  if (!column.default_value) return out;
  // SQLite adds a NOT NULL column only with a default that is not NULL.
  if (column.not_null && !std::holds_alternative<std::monostate>(*column.default_value)) out += " NOT NULL";
  return out + " DEFAULT " + literal_sql(*column.default_value);
}

std::string sqlite_ddl(const Table& table) {
  const Column* single_key = nullptr;
  if (table.key.size() == 1) {
    auto found = std::find_if(table.columns.begin(), table.columns.end(),
                              [&](const Column& c) { return c.name == table.key[0]; });
    if (found != table.columns.end()) single_key = &*found;
  }
  // PRIMARY KEY on an INTEGER column makes a rowid alias, unless it is written at the column and with DESC: a
  // historical trait of SQLite.
  const bool alias_by_accident =
      single_key && single_key->type == "INTEGER" && !table.integer_key && !table.without_rowid;
  const bool key_at_column = table.integer_key || alias_by_accident;
  std::string out = "CREATE TABLE " + quote_name(table.name) + "(";
  for (size_t i = 0; i < table.columns.size(); ++i) {
    const Column& column = table.columns[i];
    if (i) out += ", ";
    out += name_and_type(column);
    if (key_at_column && &column == single_key) out += alias_by_accident ? " PRIMARY KEY DESC" : " PRIMARY KEY";
    if (column.not_null) out += " NOT NULL";
    if (column.default_value) out += " DEFAULT " + literal_sql(*column.default_value);
  }
  if (!key_at_column) {
    out += ", PRIMARY KEY(";
    for (size_t i = 0; i < table.key.size(); ++i) out += (i ? ", " : "") + quote_name(table.key[i]);
    out += ")";
  }
  out += ")";
  if (table.without_rowid) out += " WITHOUT ROWID";
  if (table.strict) out += table.without_rowid ? ", STRICT" : " STRICT";
  return out;
}

}  // namespace rejoin::contract
