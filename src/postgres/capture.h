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
// Was the function with this text made for another PRIMARY KEY than the table has now? The columns of that one, for
// people; "": no. A key column that was renamed is the same.
std::string other_key(const Table& table, const std::string& function);
// Do devices call the table by the name that it had itself when it was tracked, as far as the function tells?
bool has_own_name(const Table& table, const std::string& function);
// Does the function read the rows that TRUNCATE deletes from the table as it is called now?
bool follows_truncate(const Table& table, const std::string& function);
// Does the function know this column, beside the key?
bool captures(const Column& column, const std::string& function);

}  // namespace rejoin::postgres
