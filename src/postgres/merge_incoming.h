// A row of a pushed frame, as it waits to be merged.
#pragma once

#include <map>

#include "postgres/complaint.h"
#include "postgres/merge.h"

namespace rejoin::postgres {

struct Merge::Incoming {
  const Table* table = nullptr;
  std::string called;  // by the device, where that is not the table's name
  Bytes key;
  crdt::RowRecord theirs;
  std::optional<crdt::RowRecord> whole;         // when part of it was left out, being another replica's
  bool unknown = false;                         // it has columns that the table lacks
  bool born = false;                            // it tells of a new row, and all that the row holds
  std::map<uint32_t, crdt::OwnedValue> values;  // by column id
  crdt::Hlc newest = 0;
  SqlError error;  // why it waits
  WrittenRow written() const { return {table, key, !theirs.alive && !theirs.live.bottom(), &values}; }
};

}  // namespace rejoin::postgres
