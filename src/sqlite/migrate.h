// A server's contract as DDL: tables and columns that are missing here are made.
#pragma once

#include <string>

#include "sqlite/context.h"

namespace rejoin::sqlite {

// All of them or none; how many. Nothing that is here is changed. Errors: bad_argument (no contract), schema_refused (a
// table with that name is here and is not synced, has another key, or what is missing cannot be added to it).
Result<int64_t> migrate(Context& ctx, const std::string& contract_json);

}  // namespace rejoin::sqlite
