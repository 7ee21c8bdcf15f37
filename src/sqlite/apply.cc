#include "sqlite/apply.h"

#include <optional>

#include "codec/changeset.h"
#include "sqlite/fold.h"
#include "sqlite/merge.h"
#include "sqlite/parked.h"
#include "sqlite/roomy_cache.h"

namespace rejoin::sqlite {
namespace {

// So many rows are worth a larger page cache: more than a page of a sync has.
constexpr uint64_t kManyRows = 32'768;

// A source's pages that wait for their horizon.
struct Stream {
  bool open = false;
  uint64_t horizon = 0;
  Bytes next;
};

Result<Stream> load_stream(Context& ctx, BytesView source) {
  Stream stream;
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT next, horizon FROM main.rejoin_stream WHERE source=?1"));
  Use use(*s);
  s->bind_blob(1, source);
  REJOIN_ASSIGN(bool row, s->step("reading a stream"));
  if (!row) return stream;
  stream.open = true;
  stream.next = s->blob(0);
  stream.horizon = static_cast<uint64_t>(s->integer(1));
  return stream;
}

Status drop_staged(Context& ctx, BytesView source) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("DELETE FROM main.rejoin_staged WHERE source=?1"));
  Use use(*s);
  s->bind_blob(1, source);
  return s->run("dropping staged pages");
}

Status drop_stream(Context& ctx, BytesView source) {
  REJOIN_TRY(drop_staged(ctx, source));
  REJOIN_ASSIGN(Statement * s, ctx.statement("DELETE FROM main.rejoin_stream WHERE source=?1"));
  Use use(*s);
  s->bind_blob(1, source);
  return s->run("ending a stream");
}

Status stage(Context& ctx, BytesView source, const Stream& stream, BytesView frame) {
  {
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("INSERT OR REPLACE INTO main.rejoin_stream(source, next, horizon) VALUES(?1, ?2, ?3)"));
    Use use(*s);
    s->bind_blob(1, source);
    s->bind_blob(2, stream.next);
    s->bind(3, static_cast<int64_t>(stream.horizon));
    REJOIN_TRY(s->run("staging a page"));
  }
  REJOIN_ASSIGN(Statement * s, ctx.statement("INSERT INTO main.rejoin_staged(source, frame) VALUES(?1, ?2)"));
  Use use(*s);
  s->bind_blob(1, source);
  s->bind_blob(2, frame);
  return s->run("staging a page");
}

Result<bool> is_staged(Context& ctx, BytesView source, BytesView frame) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.rejoin_staged WHERE source=?1 AND frame=?2 LIMIT 1"));
  Use use(*s);
  s->bind_blob(1, source);
  s->bind_blob(2, frame);
  return s->step("looking for a staged page");
}

// Merges the staged pages of a source one after another: memory is one page, whatever the stream's size.
Status merge_staged(Context& ctx, Merge& merge, BytesView source, const codec::Limits& limits) {
  int64_t after = 0;
  for (;;) {
    Bytes frame;
    {
      REJOIN_ASSIGN(
          Statement * s,
          ctx.statement("SELECT id, frame FROM main.rejoin_staged WHERE source=?1 AND id>?2 ORDER BY id LIMIT 1"));
      Use use(*s);
      s->bind_blob(1, source);
      s->bind(2, after);
      REJOIN_ASSIGN(bool row, s->step("reading a staged page"));
      if (!row) return {};
      after = s->integer(0);
      frame = s->blob(1);
    }
    REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame, limits));
    REJOIN_TRY(merge.frame(reader));
  }
}

}  // namespace

Result<sync::ApplyOutcome> apply(Context& ctx, BytesView frame, const ApplyOptions& options) {
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

Result<sync::ApplyOutcome> apply_in(Work& work, BytesView frame, const ApplyOptions& options) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame, options.limits));
  const codec::FrameInfo& info = reader.info();
  constexpr uint64_t kMaxPosition = ~uint64_t{0} >> 1;
  if (info.through > kMaxPosition || info.horizon > kMaxPosition)
    return fail(Code::corrupt, "the changeset names a log position that no log has; nothing was merged");
  REJOIN_TRY(fold(work));
  REJOIN_TRY(replay_due(work));

  Bytes source(info.source.view());
  REJOIN_ASSIGN(Stream stream, load_stream(ctx, source));
  bool whole = info.starts_batch && info.through >= info.horizon;
  bool continues = stream.open && info.from == stream.next && !(info.from.empty() && info.starts_batch);
  Merge merge(work, options);
  if (continues) {
    stream.horizon = std::max(stream.horizon, info.horizon);
    stream.next = info.next;
    if (info.through < stream.horizon) {
      REJOIN_TRY(stage(ctx, source, stream, frame));
      merge.outcome().staged = true;
      return std::move(merge.outcome());
    }
    REJOIN_TRY(merge_staged(ctx, merge, source, options.limits));
    REJOIN_TRY(merge.frame(reader));
    REJOIN_TRY(merge.finish());
    REJOIN_TRY(drop_stream(ctx, source));
    return std::move(merge.outcome());
  }
  if (whole) {
    REJOIN_TRY(merge.frame(reader));
    REJOIN_TRY(merge.finish());
    // What waited for the same positions has come with it. The stream stays open: its reader may go on with its pages.
    if (stream.open && info.from.empty() && info.through >= stream.horizon) REJOIN_TRY(drop_staged(ctx, source));
    return std::move(merge.outcome());
  }
  if (stream.open) {
    REJOIN_ASSIGN(bool repeated, is_staged(ctx, source, frame));
    if (repeated) {
      merge.outcome().staged = true;
      return std::move(merge.outcome());
    }
  }
  if (!info.starts_batch)
    return fail(Code::gap,
                "this page continues another that was not applied; apply the pages in order, from the last position on "
                "that was applied");
  REJOIN_TRY(drop_stream(ctx, source));
  stream = Stream{true, info.horizon, info.next};
  REJOIN_TRY(stage(ctx, source, stream, frame));
  merge.outcome().staged = true;
  return std::move(merge.outcome());
}

}  // namespace rejoin::sqlite
