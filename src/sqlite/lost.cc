#include "sqlite/lost.h"

namespace rejoin::sqlite {

Status LostLog::note(const Table& table, BytesView key, uint32_t column, crdt::Stamp stamp,
                     const crdt::ValueRef& value) {
  ++noted_;
  REJOIN_ASSIGN(
      Statement * s,
      ctx_.statement(
          "INSERT INTO main.rejoin_lost(tbl, k, col, hlc, site, value) SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS "
          "(SELECT 1 FROM main.rejoin_lost WHERE tbl=?1 AND k=?2 AND col=?3 AND hlc=?4 AND site=?5)"));
  Use use(*s);
  s->bind(1, static_cast<int64_t>(table.id));
  s->bind_blob(2, key);
  s->bind(3, static_cast<int64_t>(column));
  s->bind(4, static_cast<int64_t>(stamp.hlc));
  s->bind(5, static_cast<int64_t>(stamp.site));
  s->bind(6, value);
  return s->run("noting what lost");
}

Status LostLog::trim() {
  if (!noted_) return {};
  REJOIN_ASSIGN(Statement * s,
                ctx_.statement("DELETE FROM main.rejoin_lost WHERE id<=(SELECT max(id) FROM main.rejoin_lost)-" +
                               std::to_string(kLostKept)));
  return s->run("forgetting old losers");
}

}  // namespace rejoin::sqlite
