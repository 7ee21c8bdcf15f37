#include "sqlite/gone.h"

#include <algorithm>

#include "sqlite/key_reader.h"

namespace rejoin::sqlite {

Status shelve_gone(Context& ctx, const Table& table) {
  std::string keys, same, columns = table.column_list();
  for (const Column& c : table.key) {
    keys += (keys.empty() ? "" : ", ") + quote(c.name);
    same += (same.empty() ? "" : " AND ") + ("t." + quote(c.name) + "=g." + quote(c.name));
  }
  const std::string all = keys + (columns.empty() ? "" : ", ") + columns;
  REJOIN_ASSIGN(Statement * move,
                ctx.statement("INSERT OR REPLACE INTO " + table.shadow() + "(" + all + ") SELECT " + all + " FROM " +
                              table.gone() + " AS g WHERE NOT EXISTS (SELECT 1 FROM " + table.quoted() +
                              " AS t WHERE " + same + ") ORDER BY " + keys + ", g." + table.rowid_name()));
  REJOIN_TRY(move->run("sorting deleted rows"));
  REJOIN_ASSIGN(Statement * clear, ctx.statement("DELETE FROM " + table.gone()));
  return clear->run("sorting deleted rows");
}

Status forget_gone(Context& ctx, const Table& table, const std::vector<Bytes>& keys) {
  std::vector<int64_t> ours;
  {
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("SELECT " + table.rowid_name() + ", " + table.key_list() + " FROM " + table.gone()));
    Use use(*s);
    Bytes key;
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading what was captured"));
      if (!row) break;
      encode_row_key(*s, 1, table.key.size(), key);
      if (std::binary_search(keys.begin(), keys.end(), key)) ours.push_back(s->integer(0));
    }
  }
  REJOIN_ASSIGN(Statement * drop,
                ctx.statement("DELETE FROM " + table.gone() + " WHERE " + table.rowid_name() + "=?1"));
  for (int64_t rowid : ours) {
    drop->bind(1, rowid);
    REJOIN_TRY(drop->run("forgetting a captured merge"));
  }
  return {};
}

}  // namespace rejoin::sqlite
