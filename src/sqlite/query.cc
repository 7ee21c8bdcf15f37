#include "sqlite/query.h"

#include <vector>

#include "sqlite/sql.h"

namespace rejoin::sqlite {

Status query(sqlite3* db, std::string_view sql, std::span<const crdt::ValueRef> parameters,
             const std::function<bool(QueryRow)>& each) {
  REJOIN_ASSIGN(Statement statement, prepare(db, sql));
  for (size_t i = 0; i < parameters.size(); ++i) statement.bind(static_cast<int>(i) + 1, parameters[i]);
  std::vector<crdt::ValueRef> row(static_cast<size_t>(sqlite3_column_count(statement.get())));
  for (;;) {
    REJOIN_ASSIGN(bool more, statement.step("running a query"));
    if (!more) return {};
    for (size_t i = 0; i < row.size(); ++i) row[i] = statement.value(static_cast<int>(i));
    if (!each(row)) return {};
  }
}

}  // namespace rejoin::sqlite
