// What changed between two contracts.
#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "contract/contract.h"

namespace rejoin::contract {
namespace {

using Kind = Difference::Kind;

// Bit by bit, so that 0.0 and -0.0 differ.
bool same_literal(const std::optional<Literal>& a, const std::optional<Literal>& b) {
  if (a != b) return false;
  const double* x = a ? std::get_if<double>(&*a) : nullptr;
  const double* y = b ? std::get_if<double>(&*b) : nullptr;
  return !x || !y || std::memcmp(x, y, sizeof *x) == 0;
}

bool same_column(const Column& a, const Column& b) {
  return a.name == b.name && a.type == b.type && a.not_null == b.not_null &&
         same_literal(a.default_value, b.default_value);
}

std::unordered_map<std::string_view, const Column*> columns_by_name(const Table& table) {
  std::unordered_map<std::string_view, const Column*> map;
  for (const Column& column : table.columns) map.emplace(column.name, &column);
  return map;
}

std::vector<const Table*> tables_by_name(const Contract& contract) {
  std::vector<const Table*> tables;
  for (const Table& table : contract.tables) tables.push_back(&table);
  std::stable_sort(tables.begin(), tables.end(), [](const Table* a, const Table* b) { return a->name < b->name; });
  return tables;
}

void diff_table(const Table& before, const Table& after, std::vector<Difference>& out) {
  if (before.key != after.key || before.integer_key != after.integer_key)
    out.push_back({Kind::key_changed, before.name, ""});
  if (before.strict != after.strict || before.without_rowid != after.without_rowid)
    out.push_back({Kind::table_changed, before.name, ""});
  auto old_columns = columns_by_name(before), new_columns = columns_by_name(after);
  for (const Column& column : before.columns) {
    auto found = new_columns.find(column.name);
    if (found == new_columns.end())
      out.push_back({Kind::column_removed, before.name, column.name});
    else if (!same_column(column, *found->second))
      out.push_back({Kind::column_changed, before.name, column.name});
  }
  for (const Column& column : after.columns)
    if (!old_columns.count(column.name)) out.push_back({Kind::column_added, before.name, column.name});
}

// Can a row that lacks this column be shown?
bool may_be_absent(const Column& column) {
  if (!column.not_null) return true;
  return column.default_value && !std::holds_alternative<std::monostate>(*column.default_value);
}

}  // namespace

std::vector<Difference> diff(const Contract& before, const Contract& after) {
  std::vector<Difference> out;
  std::vector<const Table*> a = tables_by_name(before), b = tables_by_name(after);
  for (size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    int order = i == a.size() ? 1 : j == b.size() ? -1 : a[i]->name.compare(b[j]->name);
    if (order < 0)
      out.push_back({Kind::table_removed, a[i++]->name, ""});
    else if (order > 0)
      out.push_back({Kind::table_added, b[j++]->name, ""});
    else
      diff_table(*a[i++], *b[j++], out);
  }
  return out;
}

std::vector<Difference> not_additive(const Contract& before, const Contract& after) {
  std::vector<Difference> out;
  for (const Difference& d : diff(before, after)) {
    if (d.kind == Kind::table_added) continue;
    if (d.kind == Kind::column_added) {
      auto table =
          std::find_if(after.tables.begin(), after.tables.end(), [&](const Table& t) { return t.name == d.table; });
      auto column = std::find_if(table->columns.begin(), table->columns.end(),
                                 [&](const Column& c) { return c.name == d.column; });
      if (may_be_absent(*column)) continue;
    }
    out.push_back(d);
  }
  return out;
}

std::string to_text(const Difference& d) {
  const std::string table = "table " + quote_name(d.table), column = "column " + quote_name(d.column) + " of " + table;
  switch (d.kind) {
    case Kind::table_added:
      return table + " was added";
    case Kind::table_removed:
      return table + " was removed";
    case Kind::column_added:
      return column + " was added";
    case Kind::column_removed:
      return column + " was removed";
    case Kind::column_changed:
      return column + " has another type, default or NOT NULL";
    case Kind::key_changed:
      return table + " has another key";
    case Kind::table_changed:
      return table + " is STRICT or WITHOUT ROWID, and was not, or the other way round";
  }
  return table;
}

}  // namespace rejoin::contract
