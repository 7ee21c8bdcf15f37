// Hears that a connection closes while statements can still be finalized: the only such moment that SQLite gives an
// extension is the disconnect of an eponymous virtual table. This one, rejoin_close, has no rows, and no statement that
// is kept may name it: a table that a statement uses is not disconnected, and then the connection stays open.
#pragma once

#include <functional>
#include <memory>

#include "base/result.h"

struct sqlite3;

namespace rejoin::sqlite {

class CloseHook {
 public:
  // `on_close` runs when the connection closes (and whenever SQLite drops the virtual table): finalize there.
  CloseHook(sqlite3* db, std::function<void()> on_close);
  ~CloseHook();
  CloseHook(const CloseHook&) = delete;
  CloseHook& operator=(const CloseHook&) = delete;
  // Makes SQLite instantiate the table, so that the disconnect will come.
  Status arm();
  // The connection is closing: leave its module alone, SQLite is about to drop it.
  void abandon();

 private:
  struct Hook;
  sqlite3* db_;
  std::shared_ptr<Hook> hook_;
};

}  // namespace rejoin::sqlite
