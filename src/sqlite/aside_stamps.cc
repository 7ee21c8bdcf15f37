#include "sqlite/aside_stamps.h"

#include "codec/row_frame.h"
#include "sqlite/row_state.h"

namespace rejoin::sqlite {

Result<AsideStamps> AsideStamps::load(Context& ctx, const Table& table) {
  AsideStamps out(ctx);
  std::vector<std::string> names = table.former_names;
  names.push_back(table.name);
  for (const std::string& name : names) {
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT k, id FROM main.rejoin_aside WHERE table_name=?1 COLLATE "
                                               "NOCASE AND frame IS NOT NULL"));
    Use use(*s);
    s->bind_text(1, name);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading rows that are kept aside"));
      if (!row) break;
      out.ids_[Bytes(s->blob(0))].push_back(s->integer(1));
    }
  }
  return out;
}

Status AsideStamps::follow(BytesView key, const crdt::RowRecord& before, const crdt::RowRecord& after,
                           const std::function<void(crdt::Stamp&)>& change) const {
  for (const int64_t id : ids_.at(Bytes(key))) {
    Bytes frame;
    {
      REJOIN_ASSIGN(Statement * s, ctx_->statement("SELECT frame FROM main.rejoin_aside WHERE id=?1"));
      Use use(*s);
      s->bind(1, id);
      REJOIN_TRY(s->step("reading a row that is kept aside"));
      frame = s->blob(0);
    }
    auto reader = codec::ChangesetReader::open(frame);
    if (!reader.ok()) continue;  // damaged on disk: it stays, and stops nothing else
    REJOIN_ASSIGN(const std::vector<uint32_t> sites, site_map(*ctx_, *reader));
    auto row = codec::read_row_frame(*reader, sites);
    if (!row.ok() || !*row) continue;
    crdt::RowRecord& aside = (*row)->record;
    if (aside.live == before.live) aside.live = after.live;
    if (aside.birth == before.birth) aside.birth = after.birth;
    for (crdt::CellGroup& g : aside.groups) {
      // Also where the frame tells of edits alone, and of no birth.
      const bool counts = crdt::compare(g.stamp, before.birth, ctx_->sites) >= 0;
      if (change) change(g.stamp);
      if (counts && crdt::compare(g.stamp, after.birth, ctx_->sites) < 0) g.stamp = after.birth;
    }
    crdt::canonicalise(aside, ctx_->sites);
    const Bytes moved = codec::encode_row_frame(reader->info().source, ctx_->sites, &**row);
    REJOIN_ASSIGN(Statement * s, ctx_->statement("UPDATE main.rejoin_aside SET frame=?2 WHERE id=?1"));
    Use use(*s);
    s->bind(1, id);
    s->bind_blob(2, moved);
    REJOIN_TRY(s->run("moving the stamps of a row that is kept aside"));
  }
  return {};
}

}  // namespace rejoin::sqlite
