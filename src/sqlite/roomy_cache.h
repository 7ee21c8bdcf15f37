// More page cache for as long as many rows are read or written in an order that is not theirs on disk.
#pragma once

#include "base/result.h"

struct sqlite3;

namespace rejoin::sqlite {

// Raises the connection's page cache to 32 MiB, unless it is larger, and gives back what was set. SQLite fills it only
// as far as pages are read.
class RoomyCache {
 public:
  explicit RoomyCache(sqlite3* db);
  ~RoomyCache();
  RoomyCache(const RoomyCache&) = delete;
  RoomyCache& operator=(const RoomyCache&) = delete;

 private:
  sqlite3* db_;
  int64_t before_ = 0;  // as PRAGMA cache_size says it; 0: left alone
};

}  // namespace rejoin::sqlite
