// The list of rows that a merge changed, as one row of a change log holds it.
#pragma once

#include "base/bytes.h"
#include "crdt/column_set.h"
#include "crdt/record.h"

namespace rejoin::codec {

// varint count, then per row: varint key size, key, u8 flags (1: liveness changed, send it; 2: send the whole row; 4:
// it was written before, and is only announced anew), column set as a varint word count and words.
class MergedListWriter {
 public:
  void add(BytesView key, bool life, bool whole, const crdt::ColumnSet& columns);
  // A row that others may know already, under another name of the table.
  void announce(BytesView key);
  bool empty() const { return rows_ == 0; }
  uint64_t rows() const { return rows_; }
  // The blob; the writer starts over.
  Bytes finish();

 private:
  void add(BytesView key, uint8_t flags, const crdt::ColumnSet& columns);
  Bytes body_;
  uint64_t rows_ = 0;
};

class MergedListReader {
 public:
  explicit MergedListReader(BytesView blob) : in_(blob) { left_ = in_.count(3); }
  bool next();
  bool ok() const { return in_.ok(); }
  BytesView key;
  bool life = false, whole = false, announced = false;
  crdt::ColumnSet columns;

 private:
  ByteReader in_;
  uint64_t left_ = 0;
};

}  // namespace rejoin::codec
