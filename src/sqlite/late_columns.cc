#include "sqlite/late_columns.h"

#include <algorithm>

#include "codec/row_frame.h"
#include "sqlite/enforcement.h"
#include "sqlite/fold.h"
#include "sqlite/identity.h"
#include "sqlite/merge.h"
#include "sqlite/row_state.h"

namespace rejoin::sqlite {
namespace {

struct LateRow {
  const Table* table;
  Bytes key, versions, told;
};

Result<std::vector<LateRow>> late_rows(Context& ctx) {
  std::vector<LateRow> out;
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT table_name, k, versions, told FROM main.rejoin_rejections WHERE "
                                             "code='schema_refused' AND told IS NOT NULL ORDER BY table_name, k"));
  Use use(*s);
  for (;;) {
    REJOIN_ASSIGN(bool row, s->step("reading the rejections"));
    if (!row) return out;
    if (const Table* table = ctx.catalog.find(s->text(0)))
      out.push_back({table, Bytes(s->blob(1)), Bytes(s->blob(2)), Bytes(s->blob(3))});
  }
}

// The listing names them as what was refused.
Status list_anew(Context& ctx, const LateRow& row, const crdt::ColumnSet& raised, crdt::Stamp stamp) {
  crdt::RowRecord versions;
  if (!crdt::decode_record(row.versions, ctx.sites.size(), versions)) return {};
  versions.write(raised, stamp);
  crdt::canonicalise(versions, ctx.sites);
  Bytes encoded;
  crdt::encode_record(versions, encoded);
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("UPDATE main.rejoin_rejections SET versions=?3 WHERE table_name=?1 AND k=?2"));
  Use use(*s);
  s->bind_text(1, row.table->name);
  s->bind_blob(2, row.key);
  s->bind_blob(3, encoded);
  return s->run("noting what was refused");
}

}  // namespace

Status raise_late_columns(Work& work) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(const std::vector<LateRow> rows, late_rows(ctx));
  if (rows.empty()) return {};
  // The row may be from before this file took another identity, its refused part has that one's stamps.
  REJOIN_ASSIGN(const std::vector<uint32_t> own, own_sites(work));
  const auto is_own = [&](uint32_t site) { return std::find(own.begin(), own.end(), site) != own.end(); };
  // No value changes: the application's triggers have nothing to hear.
  EnforcementOff off(ctx.db, true);
  ApplyOptions options;
  options.origin = ctx.sites[work.state.site];
  Merge merge(work, options);
  for (const LateRow& row : rows) {
    REJOIN_ASSIGN(const RowState mine, read_row_state(ctx, *row.table, row.key));
    REJOIN_ASSIGN(const std::optional<Told> told, read_told(ctx, row.told));
    if (!told || !told->row) continue;
    const RowState server = state_of(*row.table, told->row);
    const crdt::Stamp birth = mine.record.birth;
    if (birth.bottom() || !is_own(birth.site) || server.record.birth != birth) continue;
    const crdt::Stamp with_birth{birth.hlc, work.state.site};
    RowState raised;
    crdt::ColumnSet columns;
    for (const auto& [c, value] : mine.values)
      if (const crdt::Stamp s = mine.record.stamp_of(c);
          (s == birth || s == with_birth) && server.record.stamp_of(c).bottom()) {
        columns.add(c);
        raised.values[c] = value;
      }
    if (columns.empty()) continue;
    const crdt::Stamp stamp{birth.hlc + kAboveDefaults, work.state.site};
    raised.record.write(columns, stamp);
    work.state.last = std::max(work.state.last, stamp.hlc);
    const codec::OneRow one = one_row(*row.table, row.key, raised);
    const Bytes frame = codec::encode_row_frame(ctx.sites[work.state.site], ctx.sites, &one);
    REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame));
    REJOIN_TRY(merge.frame(reader));
    REJOIN_TRY(list_anew(ctx, row, columns, stamp));
  }
  return merge.finish();
}

}  // namespace rejoin::sqlite
