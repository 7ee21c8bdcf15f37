// Reads rows by ascending key, cheaply both when the wanted keys lie close together (it steps) and when they lie apart
// (it seeks).
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "crdt/key.h"
#include "sqlite/context.h"

namespace rejoin::sqlite {

// The records of one table. Keys must be asked for in ascending order between resets.
class RecordReader {
 public:
  static Result<RecordReader> open(Context& ctx, const Table& table);
  RecordReader(RecordReader&& o) noexcept
      : s_(std::exchange(o.s_, nullptr)),
        active_(o.active_),
        finished_(o.finished_),
        patience_(o.patience_),
        bound_(std::move(o.bound_)) {}
  RecordReader& operator=(RecordReader&&) = delete;
  ~RecordReader() { reset(); }  // a statement that stands on a row would hold a snapshot
  // The record's bytes, or nothing (data() == nullptr). Valid until the next call.
  Result<BytesView> find(BytesView key);
  // To be called before the record table is written.
  void reset();

 private:
  explicit RecordReader(Statement* s) : s_(s) {}
  Result<bool> step();
  Statement* s_;
  bool active_ = false;    // standing on a row
  bool finished_ = false;  // nothing at or after the last key
  int patience_ = 1;       // steps before a seek
  std::string bound_;
};

// Rows of the application's table (or of the shadow table) with all present columns.
class RowReader {
 public:
  // `shadow`: read <table>__rejoin_dead instead.
  static Result<RowReader> open(Context& ctx, const Table& table, bool shadow);
  RowReader(RowReader&& o) noexcept
      : s_(std::exchange(o.s_, nullptr)),
        table_(o.table_),
        column_at_(std::move(o.column_at_)),
        active_(o.active_),
        patience_(o.patience_),
        current_(std::move(o.current_)),
        scratch_(std::move(o.scratch_)),
        bound_(std::move(o.bound_)),
        values_(std::move(o.values_)) {}
  RowReader& operator=(RowReader&&) = delete;
  ~RowReader() { reset(); }
  // True when there is such a row; then value(column id) gives its values, valid until the next call.
  Result<bool> find(BytesView key);
  crdt::ValueRef value(uint32_t column) const;
  void reset();

 private:
  RowReader(Statement* s, const Table* t);
  Result<bool> step();
  Statement* s_;
  const Table* table_;
  std::vector<int> column_at_;  // by column id: result column, or -1
  bool active_ = false;
  int patience_ = 1;     // steps before a seek
  std::string current_;  // encoded key of the row it stands on
  std::string scratch_;
  std::string bound_;
  std::vector<crdt::ValueRef> values_;
};

// The encoded key in result columns first..first+n-1.
void encode_row_key(const Statement& s, int first, size_t n, Bytes& out);

}  // namespace rejoin::sqlite
