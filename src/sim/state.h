// What a replica knows, or what a changeset says, in the plainest form: maps from names to versions and values.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "codec/changeset.h"
#include "sim/alters.h"
#include "sim/value.h"

namespace rejoin::sim {

struct Version {
  uint64_t hlc = 0;  // 0: never written
  std::string site;  // 16 bytes
  friend bool operator==(const Version&, const Version&) = default;
};
inline bool operator<(const Version& a, const Version& b) { return a.hlc != b.hlc ? a.hlc < b.hlc : a.site < b.site; }
std::string print(const Version& version);

struct Cell {
  Version version;
  Value value;
  friend bool operator==(const Cell&, const Cell&) = default;
};

struct Row {
  bool alive = false;
  Version life;  // of `alive`
  Version birth;
  std::map<int, Cell> cells;  // by column index of TableSpec::columns; only those that were written
  friend bool operator==(const Row&, const Row&) = default;
};

// By table index, then key.
using State = std::map<int, std::map<Key, Row>>;

// One row's versions and values joined with others of it.
void join(Row& into, const Row& other);

// Rows by the names that their tables have there.
using NamedState = std::map<TableName, std::map<Key, Row>>;

// What a changeset says: the rows of its source, and what that one keeps aside for others, because it lacks the columns
// (which it may say of a row once more, and with what it knows besides) or does not call its table so.
struct Said {
  State rows;
  std::map<int, int> names;  // which one each table has at the source (TableName)
  NamedState aside;
};

// Everything that a frame carries; `source`: the tables of who wrote it. Errors: corrupt, also for tables and columns
// that table_specs() does not know.
Result<Said> decode_frame(BytesView frame, const TableVersions& source);

std::string print(const Row& row);
std::string print(const State& state);
std::string print(const NamedState& state);

}  // namespace rejoin::sim
