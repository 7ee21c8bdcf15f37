// The triggers that write down what others do to a tracked table with plain SQL (rejoin.outbox).
#pragma once

#include <string>

#include "postgres/catalog.h"

namespace rejoin::postgres {

// outbox.op
enum OutboxOp : int { kInserted = 1, kUpdated = 2, kDeleted = 3 };

// The function and the triggers of a table, as one script; again replaces them.
std::string capture_sql(const Table& table);
std::string drop_capture_sql(const Table& table);

}  // namespace rejoin::postgres
