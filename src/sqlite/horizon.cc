#include "sqlite/horizon.h"

namespace rejoin::sqlite {

Result<Horizon> read_horizon(Context& ctx) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT horizon, purged, sent, keep_days, looked FROM main.rejoin_state"));
  Use use(*s);
  REJOIN_ASSIGN(bool row, s->step("reading the horizon"));
  Horizon out;
  if (!row) return out;
  out.hlc = static_cast<crdt::Hlc>(s->integer(0));
  out.position = s->integer(1);
  out.sent = s->integer(2);
  out.keep_days = s->integer(3);
  out.looked_ms = s->integer(4);
  return out;
}

Status raise_horizon(Context& ctx, crdt::Hlc hlc, int64_t position) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("UPDATE main.rejoin_state SET horizon=max(horizon, ?1), purged=max(purged, ?2)"));
  Use use(*s);
  s->bind(1, static_cast<int64_t>(hlc));
  s->bind(2, position);
  return s->run("raising the horizon");
}

Status note_sent(Context& ctx, int64_t position) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("UPDATE main.rejoin_state SET sent=?1 WHERE sent<?1"));
  Use use(*s);
  s->bind(1, position);
  return s->run("noting what others may know");
}

}  // namespace rejoin::sqlite
