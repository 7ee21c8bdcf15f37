// The application's TEMP triggers on a synced table. SQLite runs them also while triggers are switched off, so where
// they must not run they are taken away and put back.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "sqlite/api.h"

namespace rejoin::sqlite {

class TemporaryTriggers {
 public:
  explicit TemporaryTriggers(sqlite3* db) : db_(db) {}
  // Drops those on this table, too. A rollback brings them back.
  Status take(const std::string& table);
  Status put_back();
  bool any() const { return !taken_.empty(); }

 private:
  sqlite3* db_;
  std::vector<std::string> taken_;  // as SQL
};

}  // namespace rejoin::sqlite
