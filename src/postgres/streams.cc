#include "postgres/streams.h"

#include "sync/staging.h"

namespace rejoin::postgres {
namespace {

class StagedPages final : public sync::Staging {
 public:
  StagedPages(Work& work, Merge& merge, const crdt::SiteId& source, const Rows& stream)
      : work_(work), merge_(merge), source_(source.view()), stream_(stream) {}

  Result<std::optional<sync::Stream>> stream() override {
    if (stream_.empty()) return std::optional<sync::Stream>();
    return std::optional(sync::Stream{static_cast<uint64_t>(stream_.integer(0, 1)), Bytes(stream_.bytes(0, 0))});
  }

  Status stage(const sync::Stream& stream, BytesView frame) override {
    db().send(
        "INSERT INTO rejoin.stream(tenant, source, next, horizon) VALUES (rejoin.tenant_id(), $1, $2, $3) ON CONFLICT "
        "(tenant, source) DO UPDATE SET next = $2, horizon = $3",
        of_source().bytea(stream.next).integer(static_cast<int64_t>(stream.horizon)));
    db().send("INSERT INTO rejoin.staged(tenant, source, frame) VALUES (rejoin.tenant_id(), $1, $2)",
              of_source().bytea(frame));
    return {};
  }

  Result<bool> is_staged(BytesView frame) override {
    REJOIN_ASSIGN(Rows rows, db().query("SELECT EXISTS (SELECT FROM rejoin.staged WHERE tenant = rejoin.tenant_id() "
                                        "AND source = $1 AND frame = $2)",
                                        of_source().bytea(frame)));
    return rows.integer(0, 0) != 0;
  }

  Result<std::optional<Bytes>> staged_after(int64_t& after) override {
    REJOIN_ASSIGN(Rows rows, db().query("SELECT id, frame FROM rejoin.staged WHERE tenant = rejoin.tenant_id() AND "
                                        "source = $1 AND id > $2 ORDER BY id LIMIT 1",
                                        of_source().integer(after)));
    if (rows.empty()) return std::optional<Bytes>();
    after = rows.integer(0, 0);
    return std::optional(Bytes(rows.bytes(0, 1)));
  }

  Status drop_staged() override {
    db().send("DELETE FROM rejoin.staged WHERE tenant = rejoin.tenant_id() AND source = $1", of_source());
    return {};
  }

  Status drop_stream() override {
    db().send("DELETE FROM rejoin.stream WHERE tenant = rejoin.tenant_id() AND source = $1", of_source());
    return drop_staged();
  }

  Status merge(const codec::ChangesetReader& reader) override { return merge_.frame(reader); }
  Status finish() override { return merge_.finish(); }

 private:
  Connection& db() { return work_.db(); }
  Params of_source() const { return Params().bytea(source_); }
  Work& work_;
  Merge& merge_;
  const Bytes source_;
  const Rows& stream_;
};

}  // namespace

void send_stream(Connection& db, const crdt::SiteId& source) {
  db.send("SELECT next, horizon FROM rejoin.stream WHERE tenant = rejoin.tenant_id() AND source = $1",
          Params().bytea(source.view()));
}

Result<sync::ApplyOutcome> apply_frame(Work& work, const codec::ChangesetReader& reader, BytesView frame,
                                       const Rows& stream, const MergeOptions& options) {
  Merge merge(work, options);
  StagedPages staging(work, merge, reader.info().source, stream);
  REJOIN_ASSIGN(merge.outcome().staged, sync::take_frame(staging, reader, frame, options.limits));
  return std::move(merge.outcome());
}

}  // namespace rejoin::postgres
