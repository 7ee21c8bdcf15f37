#include "sqlite/rejections.h"

namespace rejoin::sqlite {

Status note_rejections(Context& ctx, const std::vector<sync::RefusedRow>& rows) {
  for (const auto& row : rows) {
    REJOIN_ASSIGN(Statement * s, ctx.statement("INSERT OR REPLACE INTO main.rejoin_rejections(table_name, key, code, "
                                               "reason, at, k) VALUES(?1, ?2, ?3, ?4, ?5, ?6)"));
    Use use(*s);
    std::string now = iso8601(ctx.clock.now_ms());
    s->bind_text(1, row.table);
    s->bind_text(2, row.key_json);
    s->bind_text(3, code_name(row.code));
    s->bind_text(4, row.reason);
    s->bind_text(5, now);
    s->bind_blob(6, row.key);
    REJOIN_TRY(s->run("noting a rejection"));
  }
  return {};
}

}  // namespace rejoin::sqlite
