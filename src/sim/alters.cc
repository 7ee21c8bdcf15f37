#include "sim/alters.h"

#include <algorithm>
#include <iterator>
#include <memory>

namespace rejoin::sim {
namespace {

// The constraints name the column anew.
void rename_in_constraints(TableSpec& spec, int from, int to) {
  auto rename = [&](int& column) {
    if (column == from) column = to;
  };
  for (auto* indexes : {&spec.unique, &spec.late}) {
    for (UniqueSpec& unique : *indexes) {
      for (int& column : unique.columns) rename(column);
      rename(unique.where_zero);
    }
  }
  for (ReferenceSpec& f : spec.references) rename(f.column);
  rename(spec.low), rename(spec.high);
}

TableSpec make(const TableSpec& spec, const TableVersion& version) {
  TableSpec out = spec;
  out.version = version.changes;
  for (const AlterSpec& alter : spec.alters) {
    // Before its turn the column that it brings is not there.
    int column = alter.kind == AlterSpec::add ? alter.column : alter.kind == AlterSpec::rename ? alter.to : -1;
    if (column >= 0) out.columns[static_cast<size_t>(column)].absent = true;
  }
  for (int i = 0; i < version.changes; ++i) {
    const AlterSpec& alter = spec.alters[static_cast<size_t>(i)];
    if (alter.kind == AlterSpec::rename_table) {
      out.name = alter.name, ++out.name_number;
      continue;
    }
    if (alter.kind == AlterSpec::rekey) {
      out.key_from.clear();
      for (const std::string& column : alter.key) {
        const auto at = std::find(spec.key.begin(), spec.key.end(), column);
        out.key_from.push_back(at == spec.key.end() ? -1 : static_cast<int>(at - spec.key.begin()));
      }
      out.key = alter.key, out.key_number = ++out.name_number;
      continue;
    }
    if (alter.kind == AlterSpec::create_index) continue;
    if (alter.kind == AlterSpec::drop_index) {
      out.unique.erase(out.unique.begin() + alter.column);
      continue;
    }
    out.columns[static_cast<size_t>(alter.column)].absent = alter.kind != AlterSpec::add;
    if (alter.kind != AlterSpec::rename) continue;
    out.columns[static_cast<size_t>(alter.to)].absent = false;
    rename_in_constraints(out, alter.column, alter.to);
  }
  for (size_t i = 0; i < out.late.size(); ++i)
    if (version.late >> i & 1) out.unique.push_back(out.late[i]);
  return out;
}

}  // namespace

const TableSpec& spec_at(int table, const TableVersion& version) {
  const TableSpec& spec = table_specs()[static_cast<size_t>(table)];
  if (version == TableVersion() && spec.alters.empty()) return spec;
  static std::map<std::pair<int, TableVersion>, std::unique_ptr<TableSpec>> all;
  auto& at = all[{table, version}];
  if (!at) at = std::make_unique<TableSpec>(make(spec, version));
  return *at;
}

std::string create_late_index(const TableSpec& spec, size_t which) {
  const UniqueSpec& unique = spec.late[which];
  std::string columns;
  auto name = [&](int column) { return quoted(spec.columns[static_cast<size_t>(column)].name); };
  for (int column : unique.columns) {
    if (spec.columns[static_cast<size_t>(column)].absent) return "";
    columns += (columns.empty() ? "" : ", ") + name(column) + (unique.nocase ? " COLLATE NOCASE" : "");
  }
  return "CREATE UNIQUE INDEX " + unique.name + " ON " + quoted(spec.name) + "(" + columns + ")" +
         (unique.where_zero < 0 ? "" : " WHERE " + name(unique.where_zero) + " = 0");
}

std::optional<TableName> table_named(std::string_view name, const std::vector<std::string>& key) {
  const auto& specs = table_specs();
  for (int t = 0; t < std::ssize(specs); ++t) {
    for (int v = 0; v <= std::ssize(specs[static_cast<size_t>(t)].alters); ++v) {
      const TableSpec& spec = spec_at(t, TableVersion{v, 0});
      if (spec.name == name && spec.key == key) return TableName{t, spec.name_number};
    }
  }
  return std::nullopt;
}

int home_of(int table, int version, int column) {
  const TableSpec& spec = table_specs()[static_cast<size_t>(table)];
  for (int i = 0; i < version; ++i) {
    const AlterSpec& alter = spec.alters[static_cast<size_t>(i)];
    if (alter.kind == AlterSpec::rename && alter.column == column) column = alter.to;
  }
  return column;
}

bool was_dropped(int table, int version, int column) {
  const TableSpec& spec = table_specs()[static_cast<size_t>(table)];
  for (int i = 0; i < version; ++i) {
    const AlterSpec& alter = spec.alters[static_cast<size_t>(i)];
    if (alter.kind == AlterSpec::drop && alter.column == column) return true;
  }
  return false;
}

}  // namespace rejoin::sim
