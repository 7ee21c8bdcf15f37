// Row records and the change log, many at a time.
#pragma once

#include <unordered_map>
#include <vector>

#include "codec/merged_list.h"
#include "crdt/record.h"
#include "postgres/held.h"
#include "postgres/work.h"

namespace rejoin::postgres {

struct StoredRow {
  bool known = false;
  crdt::RowRecord record;
  Held held;
};

// The record of a row that is older than its tracking.
crdt::RowRecord before_tracking(const Table& table);

// Columns that the table has lost get no cells.
void drop_absent(const Table& table, crdt::RowRecord& record);

// Queues the question whether a table still is as the catalog has it; check_shape() takes the answer. Errors: busy (and
// the catalog is read anew for the next attempt).
void send_shape(Work& work, const Table& table);
Status check_shape(Work& work, const Table& table, const Rows& rows);

// Queues the reading of records; read_records() takes the result. Keys that have none stay unknown.
void send_records(Work& work, const Table& table, const std::vector<BytesView>& keys);
Status read_records(Work& work, const Table& table, const Rows& rows, std::vector<StoredRow>& out);

// Collects records to be written, one statement for all.
class RecordBatch {
 public:
  void add(BytesView key, const crdt::RowRecord& record, const Held& held);
  bool empty() const { return keys_.size() == 0; }
  // Queues the statement and starts over.
  void send(Work& work, const Table& table);

 private:
  Array keys_ = Array::byteas(), records_ = Array::byteas(), held_ = Array::byteas();
};

// Collects what changed, per table and origin, and appends it to the log as one batch: a union of whole transactions,
// named by a random token.
class LogBatch {
 public:
  void add(const Table& table, uint32_t origin, BytesView key, bool life, bool whole, const crdt::ColumnSet& columns);
  // A position without rows.
  void add_nothing() { lists_.push_back({0, Work::kOwnSite, {}, {codec::MergedListWriter().finish()}}); }
  bool empty() const { return lists_.empty(); }
  // Queues the statements; moves the tail.
  void send(Work& work);

 private:
  struct List {
    int64_t table;
    uint32_t origin;
    codec::MergedListWriter open;
    std::vector<Bytes> full;
  };
  std::vector<List> lists_;
};

}  // namespace rejoin::postgres
