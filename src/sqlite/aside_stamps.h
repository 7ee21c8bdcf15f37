// When the stamps of a row move (a new identity, a clock that was wrong), those of what is kept aside of it move too:
// cells that stayed behind would be older than the row's birth, and forgotten when their columns come.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "sqlite/context.h"

namespace rejoin::sqlite {

class AsideStamps {
 public:
  // Of one table's rows. Read once: there are seldom any.
  static Result<AsideStamps> load(Context& ctx, const Table& table);
  // Is anything of the row kept aside?
  bool has(BytesView key) const { return !ids_.empty() && ids_.count(Bytes(key)) != 0; }
  // The row's record has become another. `change`: what became of its cells' stamps, of the columns that are not here
  // too; null: of these nothing moved.
  Status follow(BytesView key, const crdt::RowRecord& before, const crdt::RowRecord& after,
                const std::function<void(crdt::Stamp&)>& change) const;

 private:
  explicit AsideStamps(Context& ctx) : ctx_(&ctx) {}
  Context* ctx_;
  std::map<Bytes, std::vector<int64_t>> ids_;  // of rejoin_aside, by key
};

}  // namespace rejoin::sqlite
