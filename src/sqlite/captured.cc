#include "sqlite/captured.h"

#include <algorithm>

#include "sqlite/gone.h"
#include "sqlite/key_reader.h"
#include "sqlite/layout.h"

namespace rejoin::sqlite {

Status forget_captured(Context& ctx, const Table& table, int64_t after, const std::vector<Bytes>& keys) {
  std::vector<int64_t> ours;
  bool all_ours = true;  // as it is unless the application's triggers wrote to synced tables
  {
    std::string columns;
    for (size_t i = 0; i < table.key.size(); ++i) columns += ", k" + std::to_string(i);
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT seq, tbl, op" + columns + " FROM main.rejoin_log WHERE seq>?1"));
    Use use(*s);
    s->bind(1, after);
    Bytes key;
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading what was captured"));
      if (!row) break;
      bool captured = s->integer(1) == static_cast<int64_t>(table.id) && s->integer(2) != kMerged;
      if (captured) encode_row_key(*s, 3, table.key.size(), key);
      if (captured && std::binary_search(keys.begin(), keys.end(), key))
        ours.push_back(s->integer(0));
      else
        all_ours = false;
    }
  }
  if (ours.empty()) return {};
  REJOIN_ASSIGN(Statement * drop, ctx.statement(all_ours ? "DELETE FROM main.rejoin_log WHERE seq>?1"
                                                         : "DELETE FROM main.rejoin_log WHERE seq=?1"));
  if (all_ours) ours.assign(1, after);
  for (int64_t seq : ours) {
    drop->bind(1, seq);
    REJOIN_TRY(drop->run("forgetting a captured merge"));
  }
  return forget_gone(ctx, table, keys);
}

}  // namespace rejoin::sqlite
