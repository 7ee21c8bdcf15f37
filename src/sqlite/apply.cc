#include "sqlite/apply.h"

#include <optional>

#include "codec/changeset.h"
#include "sqlite/enforcement.h"
#include "sqlite/fold.h"
#include "sqlite/merge.h"
#include "sqlite/parked.h"
#include "sqlite/roomy_cache.h"
#include "sync/staging.h"

namespace rejoin::sqlite {
namespace {

// So many rows are worth a larger page cache: more than a page of a sync has.
constexpr uint64_t kManyRows = 32'768;

class StagedPages final : public sync::Staging {
 public:
  StagedPages(Context& ctx, Merge& merge, const crdt::SiteId& source)
      : ctx_(ctx), merge_(merge), source_(source.view()) {}

  Result<std::optional<sync::Stream>> stream() override {
    REJOIN_ASSIGN(Statement * s, ctx_.statement("SELECT next, horizon FROM main.rejoin_stream WHERE source=?1"));
    Use use(*s);
    s->bind_blob(1, source_);
    REJOIN_ASSIGN(bool row, s->step("reading a stream"));
    if (!row) return std::optional<sync::Stream>();
    return std::optional(sync::Stream{static_cast<uint64_t>(s->integer(1)), Bytes(s->blob(0))});
  }

  Status stage(const sync::Stream& stream, BytesView frame) override {
    {
      REJOIN_ASSIGN(Statement * s, ctx_.statement("INSERT OR REPLACE INTO main.rejoin_stream(source, next, horizon) "
                                                  "VALUES(?1, ?2, ?3)"));
      Use use(*s);
      s->bind_blob(1, source_);
      s->bind_blob(2, stream.next);
      s->bind(3, static_cast<int64_t>(stream.horizon));
      REJOIN_TRY(s->run("staging a page"));
    }
    REJOIN_ASSIGN(Statement * s, ctx_.statement("INSERT INTO main.rejoin_staged(source, frame) VALUES(?1, ?2)"));
    Use use(*s);
    s->bind_blob(1, source_);
    s->bind_blob(2, frame);
    return s->run("staging a page");
  }

  Result<bool> is_staged(BytesView frame) override {
    REJOIN_ASSIGN(Statement * s,
                  ctx_.statement("SELECT 1 FROM main.rejoin_staged WHERE source=?1 AND frame=?2 LIMIT 1"));
    Use use(*s);
    s->bind_blob(1, source_);
    s->bind_blob(2, frame);
    return s->step("looking for a staged page");
  }

  Result<std::optional<Bytes>> staged_after(int64_t& after) override {
    REJOIN_ASSIGN(
        Statement * s,
        ctx_.statement("SELECT id, frame FROM main.rejoin_staged WHERE source=?1 AND id>?2 ORDER BY id LIMIT 1"));
    Use use(*s);
    s->bind_blob(1, source_);
    s->bind(2, after);
    REJOIN_ASSIGN(bool row, s->step("reading a staged page"));
    if (!row) return std::optional<Bytes>();
    after = s->integer(0);
    return std::optional(Bytes(s->blob(1)));
  }

  Status drop_staged() override {
    return run("DELETE FROM main.rejoin_staged WHERE source=?1", "dropping staged pages");
  }

  Status drop_stream() override {
    REJOIN_TRY(drop_staged());
    return run("DELETE FROM main.rejoin_stream WHERE source=?1", "ending a stream");
  }

  Status merge(const codec::ChangesetReader& reader) override { return merge_.frame(reader); }
  Status finish() override { return merge_.finish(); }

 private:
  Status run(const char* sql, const char* doing) {
    REJOIN_ASSIGN(Statement * s, ctx_.statement(sql));
    Use use(*s);
    s->bind_blob(1, source_);
    return s->run(doing);
  }
  Context& ctx_;
  Merge& merge_;
  const Bytes source_;
};

Result<sync::ApplyOutcome> apply_once(Context& ctx, BytesView frame, const ApplyOptions& options) {
  // Damage is found before a lock is taken or anything is created.
  REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame, options.limits));
  uint64_t rows = 0;
  for (const codec::BlockInfo& block : reader.blocks()) rows += block.rows;
  std::optional<RoomyCache> cache;  // until after the commit, which writes what it holds
  if (rows >= kManyRows) cache.emplace(ctx.db);
  REJOIN_ASSIGN(Work work, Work::write(ctx, true));
  REJOIN_ASSIGN(sync::ApplyOutcome outcome, apply_in(work, frame, options));
  if (options.whole && !outcome.refused.empty()) {
    const sync::RefusedRow& row = outcome.refused.front();
    return fail(row.code, "row " + row.key_json + " of \"" + row.table + "\": " + row.reason + "; nothing was merged");
  }
  REJOIN_TRY(work.commit());
  return outcome;
}

}  // namespace

Result<sync::ApplyOutcome> apply(Context& ctx, BytesView frame, const ApplyOptions& options) {
  return leaving_rollbacks_out(ctx, [&] { return apply_once(ctx, frame, options); });
}

Result<sync::ApplyOutcome> apply_in(Work& work, BytesView frame, const ApplyOptions& options) {
  REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame, options.limits));
  // Merges switch triggers off and on, which expires what was prepared to roll them back.
  REJOIN_TRY(work.guard());
  REJOIN_TRY(fold(work));
  REJOIN_TRY(replay_due(work));
  Merge merge(work, options);
  StagedPages staging(work.ctx(), merge, reader.info().source);
  REJOIN_ASSIGN(merge.outcome().staged, sync::take_frame(staging, reader, frame, options.limits));
  return std::move(merge.outcome());
}

}  // namespace rejoin::sqlite
