// What a replica knows, or what a changeset says, in the plainest form: maps from names to versions and values.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "codec/changeset.h"
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

// Everything that a frame carries. Errors: corrupt, also for tables and columns that table_specs() does not know.
Result<State> decode_frame(BytesView frame);

std::string print(const Row& row);
std::string print(const State& state);

}  // namespace rejoin::sim
