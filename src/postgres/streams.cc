#include "postgres/streams.h"

namespace rejoin::postgres {
namespace {

struct Stream {
  bool open = false;
  uint64_t horizon = 0;
  Bytes next;
};

Result<Stream> load_stream(Work& work, BytesView source) {
  REJOIN_ASSIGN(Rows rows,
                work.db().query("SELECT next, horizon FROM rejoin.stream WHERE tenant = rejoin.tenant_id() AND "
                                "source = $1",
                                Params().bytea(source)));
  if (rows.empty()) return Stream();
  return Stream{true, static_cast<uint64_t>(rows.integer(0, 1)), Bytes(rows.bytes(0, 0))};
}

void drop_staged(Work& work, BytesView source) {
  work.db().send("DELETE FROM rejoin.staged WHERE tenant = rejoin.tenant_id() AND source = $1", Params().bytea(source));
}

void drop_stream(Work& work, BytesView source) {
  drop_staged(work, source);
  work.db().send("DELETE FROM rejoin.stream WHERE tenant = rejoin.tenant_id() AND source = $1", Params().bytea(source));
}

void stage(Work& work, BytesView source, const Stream& stream, BytesView frame) {
  work.db().send(
      "INSERT INTO rejoin.stream(tenant, source, next, horizon) VALUES (rejoin.tenant_id(), $1, $2, $3) ON CONFLICT "
      "(tenant, source) DO UPDATE SET next = $2, horizon = $3",
      Params().bytea(source).bytea(stream.next).integer(static_cast<int64_t>(stream.horizon)));
  work.db().send("INSERT INTO rejoin.staged(tenant, source, frame) VALUES (rejoin.tenant_id(), $1, $2)",
                 Params().bytea(source).bytea(frame));
}

// One after another: memory is one page, whatever the stream's size.
Status merge_staged(Work& work, Merge& merge, BytesView source, const codec::Limits& limits) {
  int64_t after = 0;
  for (;;) {
    REJOIN_ASSIGN(Rows rows,
                  work.db().query("SELECT id, frame FROM rejoin.staged WHERE tenant = rejoin.tenant_id() AND "
                                  "source = $1 AND id > $2 ORDER BY id LIMIT 1",
                                  Params().bytea(source).integer(after)));
    if (rows.empty()) return {};
    after = rows.integer(0, 0);
    const Bytes frame(rows.bytes(0, 1));
    REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame, limits));
    REJOIN_TRY(merge.frame(reader));
  }
}

}  // namespace

Result<sync::ApplyOutcome> apply_frame(Work& work, BytesView frame, const MergeOptions& options) {
  REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame, options.limits));
  const codec::FrameInfo& info = reader.info();
  constexpr uint64_t kMaxPosition = ~uint64_t{0} >> 1;
  if (info.through > kMaxPosition || info.horizon > kMaxPosition)
    return fail(Code::corrupt, "the changeset names a log position that no log has; nothing was merged");
  const Bytes source(info.source.view());
  REJOIN_ASSIGN(Stream stream, load_stream(work, source));
  const bool whole = info.starts_batch && info.through >= info.horizon;
  const bool continues = stream.open && info.from == stream.next && !(info.from.empty() && info.starts_batch);
  Merge merge(work, options);
  if (continues) {
    stream.horizon = std::max(stream.horizon, info.horizon);
    stream.next = info.next;
    if (info.through < stream.horizon) {
      stage(work, source, stream, frame);
      merge.outcome().staged = true;
      return std::move(merge.outcome());
    }
    REJOIN_TRY(merge_staged(work, merge, source, options.limits));
    REJOIN_TRY(merge.frame(reader));
    REJOIN_TRY(merge.finish());
    drop_stream(work, source);
    return std::move(merge.outcome());
  }
  if (whole) {
    REJOIN_TRY(merge.frame(reader));
    REJOIN_TRY(merge.finish());
    // What waited for the same positions has come with it.
    if (stream.open && info.from.empty() && info.through >= stream.horizon) drop_staged(work, source);
    return std::move(merge.outcome());
  }
  if (stream.open) {
    REJOIN_ASSIGN(Rows rows,
                  work.db().query("SELECT EXISTS (SELECT FROM rejoin.staged WHERE tenant = rejoin.tenant_id() "
                                  "AND source = $1 AND frame = $2)",
                                  Params().bytea(source).bytea(frame)));
    if (rows.integer(0, 0) != 0) {
      merge.outcome().staged = true;
      return std::move(merge.outcome());
    }
  }
  if (!info.starts_batch)
    return fail(Code::gap,
                "this page continues another that was not applied; apply the pages in order, from the last position on "
                "that was applied");
  drop_stream(work, source);
  stream = Stream{true, info.horizon, info.next};
  stage(work, source, stream, frame);
  merge.outcome().staged = true;
  return std::move(merge.outcome());
}

}  // namespace rejoin::postgres
