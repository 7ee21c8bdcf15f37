// Tables whose names and columns change while replicas talk: each replica has done the first so many of a table's
// changes. And it has some of the UNIQUE indexes that come late.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/tables.h"

namespace rejoin::sim {

struct TableVersion {
  int changes = 0;    // how many a replica has made
  uint32_t late = 0;  // a bit for each of TableSpec::late that it has
  friend auto operator<=>(const TableVersion&, const TableVersion&) = default;
};
// Tables left out: as they were created.
using TableVersions = std::map<int, TableVersion>;

// The table as it is then. Columns keep their places; those that are not there are `absent`.
const TableSpec& spec_at(int table, const TableVersion& version);
inline const TableSpec& spec_at(int table, const TableVersions& versions) {
  auto at = versions.find(table);
  return spec_at(table, at == versions.end() ? TableVersion() : at->second);
}

// CREATE UNIQUE INDEX for one of `spec.late`. Empty: a column of it is not there.
std::string create_late_index(const TableSpec& spec, size_t which);

// A table by one of the names and keys that it has in the course of its changes: the table's index, and which of them,
// from 0.
using TableName = std::pair<int, int>;
std::optional<TableName> table_named(std::string_view name, const std::vector<std::string>& key);

// Where a replica puts what comes under a column's name: the column itself, or the one that it was renamed to. An
// absent one: it is kept aside.
int home_of(int table, int version, int column);
// Was the column there, and is no more? What is said of it afterwards waits in vain.
bool was_dropped(int table, int version, int column);

}  // namespace rejoin::sim
