#include "sqlite/rejections.h"

#include "codec/changeset.h"
#include "codec/merged_list.h"
#include "sqlite/fold.h"
#include "sqlite/layout.h"

namespace rejoin::sqlite {

Status note_rejections(Context& ctx, const std::vector<sync::RefusedRow>& rows, bool held) {
  for (const auto& row : rows) {
    REJOIN_ASSIGN(Statement * s, ctx.statement("INSERT OR REPLACE INTO main.rejoin_rejections(table_name, key, code, "
                                               "reason, at, k, held) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"));
    Use use(*s);
    std::string now = iso8601(ctx.clock.now_ms());
    s->bind_text(1, row.table);
    s->bind_text(2, row.key_json);
    s->bind_text(3, code_name(row.code));
    s->bind_text(4, row.reason);
    s->bind_text(5, now);
    s->bind_blob(6, row.key);
    s->bind(7, static_cast<int64_t>(held));
    REJOIN_TRY(s->run("noting a rejection"));
  }
  return {};
}

Result<bool> has_rejections(Context& ctx) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.rejoin_rejections LIMIT 1"));
  Use use(*s);
  return s->step("looking for rejections");
}

Result<bool> is_rejected(Context& ctx, std::string_view table, BytesView key) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.rejoin_rejections WHERE table_name=?1 AND k=?2"));
  Use use(*s);
  s->bind_text(1, table);
  s->bind_blob(2, key);
  return s->step("looking for a rejection");
}

Status release_rejection(Context& ctx, std::string_view table, BytesView key) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("UPDATE main.rejoin_rejections SET held=0 WHERE table_name=?1 AND k=?2"));
  Use use(*s);
  s->bind_text(1, table);
  s->bind_blob(2, key);
  return s->run("releasing a rejection");
}

Status forget_rejections(Context& ctx, BytesView frame) {
  REJOIN_ASSIGN(bool any, has_rejections(ctx));
  if (!any) return {};
  REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame));
  std::vector<uint32_t> sites(reader.sites().size());
  for (uint32_t i = 0; i < sites.size(); ++i) sites[i] = i;
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("DELETE FROM main.rejoin_rejections WHERE table_name=?1 AND k=?2 AND NOT held"));
  for (size_t b = 0; b < reader.blocks().size(); ++b) {
    const codec::WireTable& table = reader.tables()[reader.blocks()[b].table];
    std::vector<uint32_t> columns(table.columns.size());
    for (uint32_t i = 0; i < columns.size(); ++i) columns[i] = i;
    codec::BlockCursor cursor = reader.rows(b, sites, columns);
    while (cursor.next()) {
      Use use(*s);
      s->bind_text(1, table.name);
      s->bind_blob(2, cursor.key());
      REJOIN_TRY(s->run("forgetting a rejection"));
    }
  }
  return {};
}

namespace {

constexpr int64_t kRetryAfterMs = 10 * 60 * 1000;

// Those that were refused, or tried again, before `before`.
Result<int64_t> retry_older(Work& work, const std::string& which, const std::string& before) {
  Context& ctx = work.ctx();
  constexpr uint64_t kRowsPerEntry = 1'024;
  int64_t rows = 0;
  for (const auto& table : ctx.catalog.tables) {
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("SELECT k FROM main.rejoin_rejections WHERE table_name=?1 AND at<?2 AND " + which +
                                " ORDER BY k"));
    Use use(*s);
    s->bind_text(1, table->name);
    s->bind_text(2, before);
    codec::MergedListWriter list;
    auto flush = [&]() -> Status {
      if (list.empty()) return {};
      Bytes blob = list.finish();
      REJOIN_ASSIGN(Statement * log,
                    ctx.statement("INSERT INTO main.rejoin_log(tbl, op, bits, k0) VALUES(?1, ?2, ?3, ?4)"));
      Use use_log(*log);
      log->bind(1, static_cast<int64_t>(table->id));
      log->bind(2, static_cast<int64_t>(kMerged));
      log->bind(3, static_cast<int64_t>(work.state.site));
      log->bind_blob(4, blob);
      return log->run("logging rows that were refused");
    };
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading the rejections"));
      if (!row) break;
      list.add(s->blob(0), true, true, {});
      ++rows;
      if (list.rows() >= kRowsPerEntry) REJOIN_TRY(flush());
    }
    REJOIN_TRY(flush());
  }
  if (rows == 0) return rows;
  REJOIN_ASSIGN(Statement * tried, ctx.statement("UPDATE main.rejoin_rejections SET at=?1 WHERE at<?2 AND " + which));
  {
    Use use(*tried);
    const std::string now = iso8601(ctx.clock.now_ms());
    tried->bind_text(1, now);
    tried->bind_text(2, before);
    REJOIN_TRY(tried->run("trying refused rows again"));
  }
  REJOIN_ASSIGN(int64_t tail, log_tail(ctx));
  work.state.folded = std::max(work.state.folded, tail);
  REJOIN_TRY(end_batch(ctx, tail, work.state.site));
  return rows;
}

}  // namespace

Result<int64_t> retry_rejections(Work& work) { return retry_older(work, "true", "~"); }

Result<int64_t> retry_due_rejections(Work& work) {
  REJOIN_ASSIGN(bool any, has_rejections(work.ctx()));
  if (!any) return int64_t{0};
  return retry_older(work, "code='refused'", iso8601(work.ctx().clock.now_ms() - kRetryAfterMs));
}

}  // namespace rejoin::sqlite
