#include "sqlite/roomy_cache.h"

#include <string>

#include "sqlite/sql.h"

namespace rejoin::sqlite {
namespace {

constexpr int64_t kKibibytes = 32 * 1024;

}  // namespace

RoomyCache::RoomyCache(sqlite3* db) : db_(db) {
  auto size = query_int(db, "PRAGMA main.cache_size");
  auto page = query_int(db, "PRAGMA main.page_size");
  if (!size.ok() || !page.ok() || !*size || !*page) return;
  // Negative is in KiB, positive in pages.
  const int64_t kib = **size < 0 ? -**size : **size * **page / 1024;
  if (kib >= kKibibytes || **size == 0) return;
  if (exec(db, "PRAGMA main.cache_size=" + std::to_string(-kKibibytes)).ok()) before_ = **size;
}

RoomyCache::~RoomyCache() {
  if (!before_) return;
  // No string: a destructor must not run out of memory. No blank: an interrupted connection compiles it (roll_back()),
  // which is when SQLite sets it.
  char sql[64];
  sqlite3_snprintf(sizeof sql, sql, "PRAGMA\"main\".cache_size=%lld;", static_cast<long long>(before_));
  sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
}

}  // namespace rejoin::sqlite
