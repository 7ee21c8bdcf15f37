// Plain SQL for rooms that may not see sqlite3.h: the command line, tests, benchmarks.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "crdt/value.h"

struct sqlite3;

namespace rejoin::sqlite {

// One row's values. Views until the callback returns.
using QueryRow = std::span<const crdt::ValueRef>;

// Runs one statement with `parameters` bound to ?1, ?2, … (their bytes must live until it returns) and calls `each` for
// every row until it says false. Errors: what SQLite says, by class (busy, read_only, corrupt, …); bad_argument when
// the SQL does not compile.
Status query(sqlite3* db, std::string_view sql, std::span<const crdt::ValueRef> parameters,
             const std::function<bool(QueryRow)>& each);

}  // namespace rejoin::sqlite
