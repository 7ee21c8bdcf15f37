#include "sqlite/anew.h"

#include <algorithm>
#include <set>

#include "crdt/key.h"
#include "sqlite/evict.h"
#include "sqlite/feed.h"
#include "sqlite/fold.h"
#include "sqlite/horizon.h"
#include "sqlite/layout.h"
#include "sqlite/rejections.h"
#include "sqlite/row_state.h"

namespace rejoin::sqlite {
namespace {

// The newest horizon that was told: rows that were refused for it come back as dead since then.
Result<crdt::Hlc> told_horizon(Context& ctx, const std::vector<sync::RefusedRow>& refused) {
  crdt::Hlc horizon = 0;
  for (const sync::RefusedRow& row : refused) {
    if (row.code != Code::before_horizon) continue;
    REJOIN_ASSIGN(const auto told, read_told_if_whole(ctx, row.server));
    if (told && told->row && !told->row->record.alive) horizon = std::max(horizon, told->row->record.live.hlc);
  }
  return std::min(horizon, crdt::hlc_of_ms(kLatestBelievedMs));
}

Status log_insert(Context& ctx, const Table& table, BytesView key) {
  std::vector<crdt::ValueRef> values;
  Bytes scratch;
  if (!crdt::decode_key(key, table.key.size(), values, scratch))
    return fail(Code::corrupt, "a key of table \"" + table.name + "\" is damaged");
  std::string columns, places;
  for (size_t i = 0; i < values.size(); ++i) {
    columns += ", k" + std::to_string(i);
    places += ", ?" + std::to_string(i + 2);
  }
  REJOIN_ASSIGN(Statement * s, ctx.statement("INSERT INTO main.rejoin_log(tbl, op, ms" + columns + ") VALUES(?1, " +
                                             std::to_string(kInsert) + ", julianday('now')" + places + ")"));
  Use use(*s);
  s->bind(1, static_cast<int64_t>(table.id));
  for (size_t i = 0; i < values.size(); ++i) s->bind(static_cast<int>(i + 2), values[i]);
  return s->run("writing a row anew");
}

Status write_anew_later(Context& ctx, const Table& table, BytesView key) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("INSERT OR IGNORE INTO main.rejoin_evicted(table_name, k, horizon) "
                                             "VALUES(?1, ?2, -1)"));
  Use use(*s);
  s->bind_text(1, table.name);
  s->bind_blob(2, key);
  return s->run("noting a row of a renamed table");
}

}  // namespace

Result<int64_t> write_anew(Work& work, std::vector<sync::RefusedRow>& refused,
                           const std::optional<crdt::SiteId>& server, std::optional<crdt::Hlc> lost_since) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(const crdt::Hlc horizon, told_horizon(ctx, refused));
  if (horizon == 0) return int64_t{0};
  REJOIN_ASSIGN(const Horizon mine, read_horizon(ctx));
  // Since anything was sent: what was inserted or restored here, and what anybody but the server wrote.
  std::set<std::pair<std::string, Bytes>> unsent, news, announced;
  FeedRequest request;
  request.after = mine.sent;
  REJOIN_ASSIGN(request.up_to, log_tail(ctx));
  request.local_only = true;
  REJOIN_ASSIGN(Feed feed, read_feed(ctx, work.state, request));
  for (const TableTouches& t : feed.tables)
    for (const Touch& touch : t.touches)
      if (touch.born) unsent.emplace(t.table->name, Bytes(t.key(touch)));
  request.local_only = false;
  if (server)
    if (const int64_t origin = ctx.sites.find(*server); origin >= 0)
      request.skip_origin = static_cast<uint32_t>(origin);
  REJOIN_ASSIGN(Feed all, read_feed(ctx, work.state, request));
  for (const TableTouches& t : all.tables)
    for (const Touch& touch : t.touches) {
      if (touch.written) news.emplace(t.table->name, Bytes(t.key(touch)));
      if (touch.announced) announced.emplace(t.table->name, Bytes(t.key(touch)));
    }
  work.state.last = std::max(work.state.last, horizon);
  work.state.last_remote = std::max(work.state.last_remote, horizon);
  int64_t rows = 0;
  std::vector<sync::RefusedRow> left;
  std::vector<std::pair<const Table*, Bytes>> forgotten;
  for (sync::RefusedRow& row : refused) {
    const Table* table = ctx.catalog.find(row.table);
    bool anew = row.code == Code::before_horizon && table, held = false;
    if (anew) {
      // One that was refused before is tried again: it was sent.
      REJOIN_ASSIGN(bool before, is_rejected(ctx, table->name, row.key));
      REJOIN_ASSIGN(RowState state, read_row_state(ctx, *table, row.key));
      // The log of a file that was never sent may have been compacted.
      const bool never_sent =
          unsent.contains({table->name, row.key}) || (mine.sent == 0 && state.record.birth.site == work.state.site);
      held = !before && !never_sent && !news.contains({table->name, row.key}) &&
             !(lost_since && crdt::newest_stamp(state.record) > *lost_since);
      const bool old = state.record.visible() && state.record.birth.hlc <= horizon;
      // Sent under a former name: whether it was deleted there is known when all is pulled.
      if (!before && !never_sent && old && announced.contains({table->name, row.key}))
        REJOIN_TRY(write_anew_later(ctx, *table, row.key));
      anew = !before && never_sent && old;
    }
    if (!anew) {
      if (held)
        forgotten.emplace_back(table, row.key);
      else
        left.push_back(std::move(row));
      continue;
    }
    REJOIN_TRY(log_insert(ctx, *table, row.key));
    ++rows;
  }
  refused = std::move(left);
  REJOIN_TRY(note_forgotten(work, forgotten, horizon));
  return rows;
}

Status write_waiting_anew(Work& work) {
  Context& ctx = work.ctx();
  std::vector<std::pair<const Table*, Bytes>> rows;
  {
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("SELECT table_name, k FROM main.rejoin_evicted WHERE horizon=-1 ORDER BY 1, 2"));
    Use use(*s);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading rows of renamed tables"));
      if (!row) break;
      if (const Table* table = ctx.catalog.find(s->text(0))) rows.emplace_back(table, s->blob(1));
    }
  }
  if (rows.empty()) return {};
  REJOIN_TRY(exec(ctx.db, "DELETE FROM main.rejoin_evicted WHERE horizon=-1"));
  for (const auto& row : rows) {
    REJOIN_ASSIGN(const RowState state, read_row_state(ctx, *row.first, row.second));
    if (state.record.visible()) REJOIN_TRY(log_insert(ctx, *row.first, row.second));
  }
  return fold(work);
}

}  // namespace rejoin::sqlite
