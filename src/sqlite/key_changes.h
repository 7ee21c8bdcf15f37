// Rows that were given another key by what is not folded yet: the log has the deletion of the old key and, right after
// it, the insert of the new one. What ON UPDATE CASCADE wrote to rows that referred to them stands before.
#pragma once

#include <map>
#include <vector>

#include "sqlite/context.h"

namespace rejoin::sqlite {

class KeyChanges {
 public:
  KeyChanges(Context& ctx, int64_t after) : ctx_(ctx), after_(after) {}
  // Has the row that had the key `from` when log entry `seq` was made the key `to` since?
  Result<bool> moved(const Table& table, int64_t seq, const Bytes& from, const Bytes& to);

 private:
  struct Change {
    int64_t seq;
    Bytes from, to;
  };
  Result<const std::vector<Change>*> read(const Table& table);
  Context& ctx_;
  int64_t after_;
  std::map<uint64_t, std::vector<Change>> by_table_;
};

}  // namespace rejoin::sqlite
