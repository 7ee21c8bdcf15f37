// A row that is alive but not shown, while it is settled what is (sqlite/visibility.h).
#pragma once

#include <string>
#include <vector>

#include "crdt/record.h"
#include "sqlite/base_writer.h"

namespace rejoin::sqlite {

struct HiddenRow {
  const Table* table = nullptr;
  Bytes key, scratch;
  crdt::RowRecord record;
  std::vector<OwnedValue> values;  // by column id
  BaseWriter::Row row;             // the same, and the key
  std::string refused;             // why it stays hidden whatever its parents do
  std::string reason;
  bool stood_in = false;  // a stand-in was shown until now
  bool out = false, done = false;
  std::vector<const ForeignKey*> without;  // references that a stand-in leaves out

  // Where a row that one refers to may be.
  struct Parent {
    const ForeignKey* by = nullptr;
    bool visible = false;
    std::vector<HiddenRow*> among;  // hidden rows that have the values
    bool shows() const;
  };
  std::vector<Parent> parents;       // by foreign key
  std::vector<Parent> substitutes;   // likewise, of the row that a stand-in refers to instead
  std::vector<HiddenRow*> children;  // hidden rows that may show because this one does

  crdt::ValueRef value(int at) const {
    return at >= 0 ? row.values[static_cast<size_t>(at)] : row.key[static_cast<size_t>(-1 - at)];
  }
  // What is shown: the row, or its stand-in.
  BaseWriter::Row shown() const;
};

}  // namespace rejoin::sqlite
