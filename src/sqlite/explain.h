// Why a row is what it is.
#pragma once

#include "sqlite/context.h"

namespace rejoin::sqlite {

// JSON:
// {"table","key","alive","hidden","born":{time,hlc,site},"liveness":{…},"columns":{name:{value,time,hlc,site,mine,won_against:[…]}}}.
// Error not_found when no replica ever had the row.
Result<std::string> explain(Context& ctx, const std::string& table, const std::vector<crdt::ValueRef>& key);
Result<bool> restore(Context& ctx, const std::string& table, const std::vector<crdt::ValueRef>& key);

// The key's values as the table stores them (a number given as text for an INTEGER key, for instance). Error
// bad_argument for a wrong count.
Result<Bytes> stored_key(Context& ctx, const Table& table, const std::vector<crdt::ValueRef>& key);
// Folds if there is anything to fold; where the database cannot be written, leaves it. For readers of the records.
// While another connection writes, `of_now` gives the error busy, and `as_folded` shows what was folded last.
enum class Freshness { of_now, as_folded };
Result<Work> begin_look(Context& ctx, Freshness freshness);

}  // namespace rejoin::sqlite
