#include "sqlite/captured.h"

#include <algorithm>

#include "sqlite/gone.h"
#include "sqlite/key_reader.h"
#include "sqlite/layout.h"

namespace rejoin::sqlite {

Status forget_captured(Context& ctx, const Table& table, int64_t after, const std::vector<Bytes>& keys) {
  std::vector<int64_t> ours;
  {
    std::string columns;
    for (size_t i = 0; i < table.key.size(); ++i) columns += ", k" + std::to_string(i);
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("SELECT seq, op" + columns + " FROM main.rejoin_log WHERE seq>?1 AND tbl=?2"));
    Use use(*s);
    s->bind(1, after);
    s->bind(2, static_cast<int64_t>(table.id));
    Bytes key;
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading what was captured"));
      if (!row) break;
      if (s->integer(1) == kMerged) continue;
      encode_row_key(*s, 2, table.key.size(), key);
      if (std::binary_search(keys.begin(), keys.end(), key)) ours.push_back(s->integer(0));
    }
  }
  REJOIN_ASSIGN(Statement * drop, ctx.statement("DELETE FROM main.rejoin_log WHERE seq=?1"));
  for (int64_t seq : ours) {
    drop->bind(1, seq);
    REJOIN_TRY(drop->run("forgetting a captured merge"));
  }
  return forget_gone(ctx, table, keys);
}

}  // namespace rejoin::sqlite
