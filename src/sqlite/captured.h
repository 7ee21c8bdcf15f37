// What our capture triggers logged while a merge wrote to a table whose own triggers had to run.
#pragma once

#include <vector>

#include "sqlite/context.h"

namespace rejoin::sqlite {

// Removes the log's captured entries after position `after` that are about rows with these keys (sorted): they are no
// local writes. Others stay: they are what the application's triggers wrote besides.
Status forget_captured(Context& ctx, const Table& table, int64_t after, const std::vector<Bytes>& keys);

}  // namespace rejoin::sqlite
