// An internal table-valued function, rejoin_rows(pointer), that hands rows made in memory to one bulk
// `INSERT OR REPLACE INTO … SELECT …`: about half the cost of one statement execution per row.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"

struct sqlite3;

namespace rejoin::sqlite {

// Key and record pairs, appended in key order; the bytes live in one arena.
struct RecordRows {
  struct Row {
    uint32_t key_at, key_size, record_at, record_size;
  };
  Bytes arena;
  std::vector<Row> rows;
  void clear() { arena.clear(), rows.clear(); }
  BytesView key(size_t i) const { return BytesView(arena).substr(rows[i].key_at, rows[i].key_size); }
  BytesView record(size_t i) const { return BytesView(arena).substr(rows[i].record_at, rows[i].record_size); }
};

inline constexpr const char* kRowsPointerType = "rejoin_rows";

void register_rows_vtab(sqlite3* db);

}  // namespace rejoin::sqlite
