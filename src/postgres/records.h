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
  std::string place;  // its ctid: records are written under the tenant's lock only, so it stays where it is
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

// Collects records to be written: one statement for those that are new, one for those that were read in this
// transaction.
class RecordBatch {
 public:
  void add(BytesView key, const StoredRow& row) { add(key, row.place, row.record, row.held); }
  void add_new(BytesView key, const crdt::RowRecord& record) { add(key, {}, record, {}); }
  // Queues the statements and starts over. `places`: the result of the one for new records, which is the first, is
  // (key, place).
  void send(Work& work, const Table& table, bool places = false);

 private:
  void add(BytesView key, const std::string& place, const crdt::RowRecord& record, const Held& held);
  struct Columns {
    Array where, records = Array::byteas(), held = Array::byteas();
  };
  Columns new_{Array::byteas()}, known_{Array::texts()};
};

// Collects what changed, per table and origin, and appends it to the log as one batch: a union of whole transactions,
// named by a random token.
class LogBatch {
 public:
  void add(const Table& table, uint32_t origin, BytesView key, bool life, bool whole, const crdt::ColumnSet& columns);
  // A position without rows.
  void add_nothing() { full_.push_back({0, Work::kOwnSite, codec::MergedListWriter().finish()}); }
  // Nothing was added so far.
  bool empty() const { return token_ == 0 && open_.empty() && full_.empty(); }
  // Queues what fills log rows so far, so that no more than a row for each table and origin is kept; moves the tail.
  void send_full(Work& work);
  // Queues all; moves the tail.
  void send(Work& work);

 private:
  struct Open {
    int64_t table;
    uint32_t origin;
    codec::MergedListWriter list;
  };
  struct Full {
    int64_t table;
    uint32_t origin;
    Bytes entries;
  };
  std::vector<Open> open_;
  std::vector<Full> full_;
  int64_t token_ = 0;  // 0: nothing was sent
};

}  // namespace rejoin::postgres
