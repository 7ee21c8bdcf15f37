// rejoin_alter_begin() and rejoin_alter_commit(): a tracked table is changed by any number of statements, in one
// transaction. Between them nothing is captured: the table as it was is kept in "<table>__rejoin_alter", and what has
// changed is found by comparing.
#pragma once

#include <string>

#include "sqlite/context.h"

namespace rejoin::sqlite {

// Opens a transaction unless there is one. Errors: not_tracked, bad_argument (it has begun already).
Status alter_begin(Context& ctx, const std::string& table);
// Ends the transaction, if alter_begin() opened it and no other table is being altered. Errors: bad_argument (it has
// not begun), untrackable (what the table has become cannot be synced); then the transaction is still open.
Status alter_commit(Context& ctx, const std::string& table);

// While it lives, transactions don't look for changes of tables that are being altered.
class Altering {
 public:
  explicit Altering(Context& ctx) : ctx_(ctx) { ctx_.altering = true; }
  ~Altering() { ctx_.altering = false; }
  Altering(const Altering&) = delete;
  Altering& operator=(const Altering&) = delete;

 private:
  Context& ctx_;
};

Result<bool> is_being_altered(Context& ctx, const std::string& table);

// For whoever looks for changes of the schema. True: tables are being altered now, by the caller; it is too early to
// look. Tables whose transaction was committed without alter_commit() are settled as that would have. Errors:
// in_transaction (the caller has nothing to do with it).
Result<bool> settle_alters(Work& work);

}  // namespace rejoin::sqlite
