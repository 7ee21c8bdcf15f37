#include "sqlite/explain.h"

#include "crdt/key.h"
#include "crdt/print.h"
#include "sqlite/base_writer.h"
#include "sqlite/enforcement.h"
#include "sqlite/fold.h"
#include "sqlite/key_reader.h"
#include "sqlite/layout.h"
#include "sqlite/out_of_reach.h"
#include "sqlite/parked.h"
#include "sqlite/record_writer.h"

namespace rejoin::sqlite {
namespace {

std::string stamp_json(Context& ctx, const State& state, crdt::Stamp s) {
  if (s.bottom()) return "null";
  std::string out =
      "{\"time\":" + (s.hlc == crdt::kBeforeTrackingHlc ? std::string("null,\"note\":\"from before tracking\"")
                                                        : crdt::json_string(iso8601(crdt::ms_of_hlc(s.hlc))));
  out += ",\"hlc\":" + std::to_string(s.hlc) + ",\"site\":\"" + to_hex(ctx.sites[s.site].view()) +
         "\",\"mine\":" + (s.site == state.site ? "true" : "false") + "}";
  return out;
}

Result<Work> begin_look_once(Context& ctx, Freshness freshness) {
  {
    REJOIN_ASSIGN(Work work, Work::read(ctx));
    REJOIN_ASSIGN(int64_t tail, log_tail(ctx));
    REJOIN_ASSIGN(const std::vector<uint64_t> back, back_in_reach(ctx));
    if (tail <= work.state.folded && ctx.catalog_checked == ctx.catalog_main && back.empty()) return work;
    REJOIN_ASSIGN(const bool may_write, can_write(ctx));
    if (!may_write) {
      if (freshness == Freshness::as_folded || tail <= work.state.folded) return work;
      return fail(Code::read_only, std::to_string(tail - work.state.folded) +
                                       " write(s) are not in the records yet, and this database is read-only; open it "
                                       "once so that it can be written");
    }
    REJOIN_TRY(work.commit());
  }
  const size_t before = ctx.rollback_triggers.size();
  // What a trigger has rolled back is told of.
  const auto others_write = [&](const Error& error) {
    return error.code == Code::busy && freshness == Freshness::as_folded && ctx.rollback_triggers.size() == before;
  };
  auto work = Work::write(ctx);
  if (!work.ok()) return others_write(work.error()) ? Work::read(ctx) : Result<Work>(work.error());
  const Status folded = fold(*work);
  if (folded.ok()) return work;
  // In a transaction of the application's that read before others wrote, only the first write is refused.
  if (!others_write(folded.error())) return folded.error();
  { const Work dropped = std::move(*work); }
  return Work::read(ctx);
}

}  // namespace

Result<Work> begin_look(Context& ctx, Freshness freshness) {
  return leaving_rollbacks_out(ctx, [&] { return begin_look_once(ctx, freshness); });
}

Result<Bytes> stored_key(Context& ctx, const Table& table, const std::vector<crdt::ValueRef>& key) {
  if (key.size() != table.key.size()) {
    std::string names;
    for (const Column& c : table.key) names += (names.empty() ? "" : ", ") + c.name;
    return fail(Code::bad_argument, "the key of \"" + table.name + "\" has " + std::to_string(table.key.size()) +
                                        " column(s) (" + names + "), " + std::to_string(key.size()) +
                                        " value(s) were given");
  }
  // A comparison with the column applies its affinity, so the key is found as any query would find it.
  std::string sql = "SELECT ";
  for (size_t i = 0; i < key.size(); ++i) {
    static constexpr const char* kCast[] = {"", "TEXT", "NUMERIC", "INTEGER", "REAL"};
    Affinity a = table.key[i].affinity;
    std::string mark = "?" + std::to_string(i + 1);
    bool cast =
        (a == Affinity::text && (key[i].type == crdt::ValueType::integer || key[i].type == crdt::ValueType::real)) ||
        (a != Affinity::text && a != Affinity::blob && BaseWriter::altered_by_affinity(key[i], a));
    sql += (i ? ", " : "") + (cast ? "CAST(" + mark + " AS " + kCast[static_cast<int>(a)] + ")" : mark);
  }
  REJOIN_ASSIGN(Statement s, prepare(ctx.db, sql));
  for (size_t i = 0; i < key.size(); ++i) s.bind(static_cast<int>(i + 1), key[i]);
  REJOIN_TRY(s.step());
  Bytes out;
  encode_row_key(s, 0, key.size(), out);
  return out;
}

Result<std::string> explain(Context& ctx, const std::string& name, const std::vector<crdt::ValueRef>& key_values) {
  REJOIN_ASSIGN(Work work, begin_look(ctx, Freshness::of_now));
  REJOIN_ASSIGN(Table * table, tracked_table(ctx, name));
  REJOIN_ASSIGN(Bytes key, stored_key(ctx, *table, key_values));
  REJOIN_ASSIGN(RecordReader records, RecordReader::open(ctx, *table));
  REJOIN_ASSIGN(BytesView stored, records.find(key));
  crdt::RowRecord record;
  if (!stored.data()) {
    records.reset();
    return fail(Code::not_found, "no replica that this one has heard of ever had the row " +
                                     crdt::key_json(key, table->key.size()) + " in \"" + table->name + "\"");
  }
  if (!crdt::decode_record(stored, ctx.sites.size(), record))
    return fail(Code::corrupt, "the record of this row is damaged; run rejoin doctor");
  records.reset();
  REJOIN_ASSIGN(RowReader row, RowReader::open(ctx, *table, !record.visible()));
  REJOIN_ASSIGN(bool found, row.find(key));

  std::string out =
      "{\"table\":" + crdt::json_string(table->name) + ",\"key\":" + crdt::key_json(key, table->key.size());
  out += std::string(",\"alive\":") + (record.alive ? "true" : "false") +
         ",\"visible\":" + (record.visible() ? "true" : "false");
  out += ",\"born\":" + stamp_json(ctx, work.state, record.birth) +
         ",\"liveness\":" + stamp_json(ctx, work.state, record.live) + ",\"columns\":{";
  REJOIN_ASSIGN(
      Statement * lost,
      ctx.statement(
          "SELECT hlc, site, value FROM main.rejoin_lost WHERE tbl=?1 AND k=?2 AND col=?3 ORDER BY hlc DESC, id DESC"));
  bool first = true;
  for (uint32_t c = 0; c < table->columns.size(); ++c) {
    if (!table->columns[c].present) continue;
    crdt::Stamp stamp = record.stamp_of(c);
    crdt::ValueRef value = !found                                ? crdt::ValueRef()
                           : stamp.bottom() && !record.visible() ? table->columns[c].default_value.ref()
                                                                 : row.value(c);
    out += (first ? "" : ",") + crdt::json_string(table->columns[c].name) + ":{\"value\":" + crdt::value_json(value) +
           ",\"written\":" + stamp_json(ctx, work.state, stamp);
    first = false;
    Use use(*lost);
    lost->bind(1, static_cast<int64_t>(table->id));
    lost->bind_blob(2, key);
    lost->bind(3, static_cast<int64_t>(c));
    std::string against;
    for (;;) {
      REJOIN_ASSIGN(bool more, lost->step());
      if (!more) break;
      auto site = static_cast<uint32_t>(lost->integer(1));
      if (!ctx.sites.contains(site)) continue;
      against += (against.empty() ? "" : ",") + std::string("{\"value\":") + crdt::value_json(lost->value(2)) +
                 ",\"written\":" + stamp_json(ctx, work.state, {static_cast<crdt::Hlc>(lost->integer(0)), site}) + "}";
    }
    if (!against.empty()) out += ",\"won_against\":[" + against + "]";
    out += "}";
  }
  out += "}";
  row.reset();
  REJOIN_ASSIGN(const std::vector<std::string> names, names_aside(ctx, *table));
  std::string reasons;
  for (const std::string& under : names) {
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("SELECT reason FROM main.rejoin_aside WHERE table_name=?1 AND k=?2 AND due IS NOT -1"));
    Use use(*s);
    s->bind_text(1, under);
    s->bind_blob(2, key);
    for (;;) {
      REJOIN_ASSIGN(bool more, s->step());
      if (!more) break;
      reasons += (reasons.empty() ? "" : ",") + crdt::json_string(s->text(0));
    }
  }
  if (!reasons.empty()) out += ",\"parked\":[" + reasons + "]";
  REJOIN_TRY(work.commit());
  return out + "}";
}

Result<bool> restore(Context& ctx, const std::string& name, const std::vector<crdt::ValueRef>& key_values) {
  REJOIN_ASSIGN(Work work, Work::write(ctx));
  REJOIN_TRY(fold(work));
  REJOIN_ASSIGN(Table * table, tracked_table(ctx, name));
  REJOIN_ASSIGN(Bytes key, stored_key(ctx, *table, key_values));
  std::string shown = crdt::key_json(key, table->key.size());
  REJOIN_ASSIGN(RecordReader records, RecordReader::open(ctx, *table));
  REJOIN_ASSIGN(BytesView stored, records.find(key));
  crdt::RowRecord record;
  if (!stored.data()) {
    records.reset();
    return fail(Code::not_found, "there never was a row " + shown + " in \"" + table->name + "\"");
  }
  if (!crdt::decode_record(stored, ctx.sites.size(), record))
    return fail(Code::corrupt, "the record of this row is damaged; run rejoin doctor");
  records.reset();
  if (record.alive) {
    REJOIN_TRY(work.commit());
    return false;
  }
  REJOIN_ASSIGN(RowReader shadow, RowReader::open(ctx, *table, true));
  REJOIN_ASSIGN(bool found, shadow.find(key));
  // Without a birth the whole row was never here, only edits of it. A table of key columns only has no values to lose.
  bool complete = found || table->column_list().empty();
  if (!complete || record.birth.bottom()) {
    shadow.reset();
    return fail(Code::not_found, "the last values of row " + shown + " in \"" + table->name + "\" were not kept here" +
                                     (table->keep_deleted ? "; restore it on a replica that had it"
                                                          : " (keep_deleted is false); insert it anew"));
  }
  BaseWriter::Row row;
  Bytes scratch;
  std::vector<OwnedValue> kept(table->columns.size());
  row.values.resize(table->columns.size());
  for (uint32_t c = 0; c < table->columns.size(); ++c) {
    kept[c] = OwnedValue::of(record.stamp_of(c).bottom() ? table->columns[c].default_value.ref() : shadow.value(c));
    row.values[c] = kept[c].ref();
  }
  shadow.reset();
  if (!crdt::decode_key(key, table->key.size(), row.key, scratch)) return fail(Code::corrupt, "the key is damaged");
  REJOIN_TRY(require_reach(ctx, *table));
  BaseWriter base(ctx, *table);
  // The insert is logged as a restore and not as the insert that the capture trigger sees; the application's triggers
  // do run.
  REJOIN_ASSIGN(int64_t mark, log_tail(ctx));
  REJOIN_ASSIGN(Wrote wrote, base.insert(row));
  if (wrote != Wrote::done)
    return fail(Code::bad_argument, "row " + shown + " cannot come back to \"" + table->name + "\": " + base.reason() +
                                        "; remove what stands in its way first");
  {
    // The first of them: the application's triggers may have inserted further rows after it.
    REJOIN_ASSIGN(Statement * s, ctx.statement("UPDATE main.rejoin_log SET op=" + std::to_string(kRestore) +
                                               " WHERE seq=(SELECT min(seq) FROM main.rejoin_log WHERE seq>?1 AND "
                                               "tbl=?2 AND k0 IS ?3 AND op=" +
                                               std::to_string(kInsert) + ")"));
    Use use(*s);
    s->bind(1, mark);
    s->bind(2, static_cast<int64_t>(table->id));
    s->bind(3, row.key[0]);
    REJOIN_TRY(s->run("logging the restore"));
  }
  REJOIN_TRY(fold(work));
  REJOIN_TRY(work.commit());
  return true;
}

}  // namespace rejoin::sqlite
