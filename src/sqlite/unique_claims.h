// The UNIQUE values that rows claim, visible or not, and who has them. SQLite itself says what a row's values come to
// in an index: collations, expressions, generated columns and conditions of partial indexes are its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sqlite/base_writer.h"

namespace rejoin::sqlite {

// What a row holds in one UNIQUE index of its table.
struct Tuple {
  size_t rule;  // in Constraints::unique
  Bytes bytes;  // equal for tuples that the index takes for equal
  std::vector<OwnedValue> values;
};

struct Trial {
  std::string refused;  // why the table would refuse the row even if it had no other; empty: it would not
  std::vector<Tuple> tuples;
};
// What a row that is not in the table would hold if it were. The table's triggers must be off.
Result<Trial> try_row(Context& ctx, const Table& table, const BaseWriter::Row& row);
// The key of the visible row that holds the tuple.
Result<std::optional<Bytes>> holder_of(Context& ctx, const Table& table, const Tuple& tuple);

}  // namespace rejoin::sqlite
