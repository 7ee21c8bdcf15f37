#include "sqlite/hidden.h"

#include <vector>

#include "crdt/key.h"
#include "sqlite/base_writer.h"
#include "sqlite/captured.h"
#include "sqlite/fold.h"
#include "sqlite/key_reader.h"
#include "sqlite/parked.h"
#include "sqlite/record_writer.h"

namespace rejoin::sqlite {

Result<bool> retry_hidden(Context& ctx, const Table& table) {
  std::vector<Bytes> keys;
  {
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("SELECT k FROM main.rejoin_parked WHERE table_name=?1 AND frame IS NULL ORDER BY k"));
    Use use(*s);
    s->bind_text(1, table.name);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step());
      if (!row) break;
      keys.emplace_back(s->blob(0));
    }
  }
  if (keys.empty()) return false;
  const bool triggers = table.app_triggers && !ctx.rollback_triggers.contains(table.id);
  EnforcementOff off(ctx.db, !triggers);
  REJOIN_ASSIGN(int64_t mark, log_tail(ctx));
  std::vector<Bytes> shown;
  REJOIN_ASSIGN(RecordReader records, RecordReader::open(ctx, table));
  REJOIN_ASSIGN(RowReader shadow, RowReader::open(ctx, table, true));
  RecordWriter writer(ctx, table);
  BaseWriter base(ctx, table, triggers);
  crdt::RowRecord record;
  BaseWriter::Row row;
  Bytes scratch;
  for (const Bytes& key : keys) {
    REJOIN_ASSIGN(BytesView stored, records.find(key));
    if (!stored.data() || !crdt::decode_record(stored, ctx.sites.size(), record) || !record.alive || !record.hidden) {
      REJOIN_TRY(unpark_hidden(ctx, table, key));
      continue;
    }
    REJOIN_ASSIGN(bool found, shadow.find(key));
    if (!found) continue;
    bool altered = false;
    row.values.assign(table.columns.size(), {});
    for (uint32_t c = 0; c < table.columns.size(); ++c) {
      if (!table.columns[c].present) continue;
      const bool written = !record.stamp_of(c).bottom();
      row.values[c] = written ? shadow.value(c) : table.columns[c].default_value.ref();
      altered |= written && BaseWriter::altered_by_affinity(row.values[c], table.columns[c].affinity);
    }
    if (altered || !crdt::decode_key(key, table.key.size(), row.key, scratch)) continue;
    REJOIN_ASSIGN(Wrote wrote, base.insert(row));
    if (wrote != Wrote::done) continue;
    shadow.reset();
    REJOIN_TRY(base.erase_shadow(row));
    REJOIN_TRY(unpark_hidden(ctx, table, key));
    record.hidden = false;
    writer.add(key, record);
    shown.push_back(key);
  }
  records.reset();
  shadow.reset();
  REJOIN_TRY(writer.flush());
  if (!triggers) return false;
  REJOIN_TRY(forget_captured(ctx, table, mark, shown));
  REJOIN_ASSIGN(int64_t tail, log_tail(ctx));
  return tail > mark;
}

}  // namespace rejoin::sqlite
