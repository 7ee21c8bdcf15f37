// Writes records in bulk: one INSERT OR REPLACE … SELECT per chunk.
#pragma once

#include "crdt/record.h"
#include "sqlite/context.h"
#include "sqlite/rows_vtab.h"

namespace rejoin::sqlite {

class RecordWriter {
 public:
  RecordWriter(Context& ctx, const Table& table) : ctx_(ctx), table_(table) {}
  void add(BytesView key, const crdt::RowRecord& record);
  size_t size() const { return rows_.rows.size(); }
  size_t bytes() const { return rows_.arena.size(); }
  // Readers of the record table must be reset before. `fresh`: the keys are known not to be there (skips the look for a
  // conflict's row).
  Status flush();

 private:
  Context& ctx_;
  const Table& table_;
  RecordRows rows_;
};

}  // namespace rejoin::sqlite
