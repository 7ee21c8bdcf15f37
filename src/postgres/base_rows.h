// SQL over the application's table, for many rows at once: one array parameter per column, unnested.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "crdt/column_set.h"
#include "postgres/work.h"

namespace rejoin::postgres {

// Keys of a batch, one text array per key column.
class KeyArrays {
 public:
  explicit KeyArrays(const Table& table) : table_(&table), arrays_(table.key.size(), Array::texts()) {}
  // `key` as crdt::encode_key() made it, of a record. One that the columns cannot hold, now that they have other types,
  // stands for no row. Errors: corrupt.
  Status add(BytesView key);
  // Of a key that a device sends: one that PostgreSQL would give back in another spelling, or that is too long for an
  // index, is bad_argument too. Adds nothing.
  Status check_foreign(BytesView key);
  size_t size() const { return arrays_.front().size(); }
  void append_to(Params& params) const {
    for (const Array& a : arrays_) params.array(a);
  }

 private:
  Status decode(BytesView key);
  const Table* table_;
  std::vector<Array> arrays_;
  std::vector<crdt::ValueRef> values_;
  Bytes scratch_;
};

// Longer keys do not fit into the index of rejoin.record (BTMaxItemSize is 2704 bytes, of which some are taken).
inline constexpr size_t kMostKeyBytes = 2'500;

// Encodes the key of a row from text forms.
Bytes encode_text_key(const Table& table, std::span<const TextElement> texts);

// The rows that a statement writes: found by key, or where send_lock() said that they lie, which saves looking them up
// again. A place is right until something else moves the row, a trigger for example.
struct Target {
  explicit Target(const Table& table) : keys(table) {}
  KeyArrays keys;
  Array places = Array::texts();  // when it is not empty, the keys are
  bool by_place() const { return places.size() != 0; }
};

// Each queues one statement; the row numbers in their results count the batch's rows from 1.
// (number, values of `reads`, place) of the rows that exist; they are locked, in the order of the batch.
void send_lock(Work& work, const Table& table, const KeyArrays& keys, const crdt::ColumnSet& reads);
// (number, values of `reads`)
void send_select(Work& work, const Table& table, const KeyArrays& keys, const crdt::ColumnSet& reads);
// Does the result have the rows that were written, or only their number (Rows::affected)?
enum class Tell { rows, number };
// (number, values of `check`) of the rows that were updated. `values`: one array per member of `columns`.
void send_update(Work& work, const Table& table, const Target& rows, const crdt::ColumnSet& columns,
                 const std::vector<Array>& values, const crdt::ColumnSet& check, Tell tell = Tell::rows);
// What becomes of the insertion of a key that exists. That nobody has it is found out twice where it may be passed
// over.
enum class Taken { passed_over, error };
// (key columns…, values of `check`) of the rows that were inserted.
void send_insert(Work& work, const Table& table, const KeyArrays& keys, const crdt::ColumnSet& columns,
                 const std::vector<Array>& values, const crdt::ColumnSet& check, Tell tell, Taken taken);
// (number, values of all present columns) of the rows that were deleted.
void send_delete(Work& work, const Table& table, const Target& rows);

// All columns that the table has.
crdt::ColumnSet present_columns(const Table& table);

// The value in column `at` of a result, which read_expression() made.
crdt::OwnedValue read_value(const Rows& rows, size_t row, int at, const Type& type);

}  // namespace rejoin::postgres
