// An internal table-valued function, rejoin_rows(pointer), that hands rows made in memory to one bulk
// `INSERT OR REPLACE INTO … SELECT …`: about half the cost of one statement execution per row. Its disconnect is also
// the only moment at which an extension hears that its connection closes while statements can still be finalized.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

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

class RowsVtab {
 public:
  // Registers the module. `on_close` runs when the connection closes (and whenever SQLite drops the virtual table):
  // finalize there.
  RowsVtab(sqlite3* db, std::function<void()> on_close);
  ~RowsVtab();
  RowsVtab(const RowsVtab&) = delete;
  RowsVtab& operator=(const RowsVtab&) = delete;
  // Makes SQLite instantiate the table, so that the disconnect will come.
  Status arm();
  // The connection is closing: leave its module alone, SQLite is about to drop it.
  void abandon();

  static constexpr const char* kPointerType = "rejoin_rows";

 private:
  struct Hook;
  sqlite3* db_;
  Hook* hook_;
};

}  // namespace rejoin::sqlite
