#include "sqlite/gone.h"

namespace rejoin::sqlite {

Status shelve_gone(Context& ctx, const Table& table) {
  std::string keys, same, columns = table.column_list();
  for (const Column& c : table.key) {
    keys += (keys.empty() ? "" : ", ") + quote(c.name);
    same += (same.empty() ? "" : " AND ") + ("t." + quote(c.name) + "=g." + quote(c.name));
  }
  // The last deletion of a row comes last. Plain SQL may have taken all names of the row number: the table is read in
  // that order.
  const std::string number = table.rowid_name(), order = keys + (number.empty() ? "" : ", g." + number);
  const std::string all = keys + (columns.empty() ? "" : ", ") + columns;
  REJOIN_ASSIGN(Statement * move,
                ctx.statement("INSERT OR REPLACE INTO " + table.shadow() + "(" + all + ") SELECT " + all + " FROM " +
                              table.gone() + " AS g WHERE NOT EXISTS (SELECT 1 FROM " + table.quoted() +
                              " AS t WHERE " + same + ") ORDER BY " + order));
  REJOIN_TRY(move->run("sorting deleted rows"));
  REJOIN_ASSIGN(Statement * clear, ctx.statement("DELETE FROM " + table.gone()));
  return clear->run("sorting deleted rows");
}

}  // namespace rejoin::sqlite
