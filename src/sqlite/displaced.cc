#include "sqlite/displaced.h"

#include "crdt/key.h"
#include "crdt/record.h"
#include "sqlite/fold.h"
#include "sqlite/key_reader.h"
#include "sqlite/layout.h"

namespace rejoin::sqlite {
namespace {

std::string log_keys(const Table& t) {
  std::string out;
  for (size_t i = 0; i < t.key.size(); ++i) out += ", k" + std::to_string(i);
  return out;
}

std::string into_log(const Table& t) { return "INSERT INTO main.rejoin_log(tbl, op, ms" + log_keys(t) + ") "; }

std::string suspect(const Table& t) {
  return std::to_string(t.id) + ", " + std::to_string(kSuspect) + ", julianday('now')";
}

// Those that were written since the last fold.
Status log_written(Work& work, const Table& t, int64_t tail) {
  const std::string keys = log_keys(t);
  std::string match, values;
  for (size_t i = 0; i < t.key.size(); ++i) {
    const std::string k = "l.k" + std::to_string(i);
    match += (match.empty() ? "" : " AND ") + ("t." + quote(t.key[i].name) + " = " + k);
    values += ", " + k;
  }
  return exec(work.ctx().db, into_log(t) + "SELECT " + suspect(t) + values + " FROM (SELECT max(seq) AS newest, op" +
                                 keys + " FROM main.rejoin_log WHERE tbl=" + std::to_string(t.id) + " AND seq>" +
                                 std::to_string(work.state.folded) + " AND seq<=" + std::to_string(tail) +
                                 " AND op BETWEEN " + std::to_string(kInsert) + " AND " + std::to_string(kSuspect) +
                                 " GROUP BY " + keys.substr(2) + ") AS l WHERE l.op IN (" + std::to_string(kInsert) +
                                 ", " + std::to_string(kUpdate) + ", " + std::to_string(kRestore) +
                                 ") AND NOT EXISTS (SELECT 1 FROM " + t.quoted() + " AS t WHERE " + match + ")");
}

// Those that were there before.
Status log_recorded(Context& ctx, const Table& t) {
  std::string marks;
  for (size_t i = 0; i < t.key.size(); ++i) marks += ", ?" + std::to_string(i + 1);
  REJOIN_ASSIGN(Statement insert, prepare(ctx.db, into_log(t) + "VALUES(" + suspect(t) + marks + ")"));
  REJOIN_ASSIGN(Statement records, prepare(ctx.db, "SELECT k, rec FROM " + t.records() + " ORDER BY k"));
  REJOIN_ASSIGN(RowReader rows, RowReader::open(ctx, t, false));
  crdt::RowRecord record;
  std::vector<crdt::ValueRef> key;
  Bytes scratch;
  for (;;) {
    REJOIN_ASSIGN(const bool more, records.step());
    if (!more) return {};
    if (!crdt::decode_record(records.blob(1), ctx.sites.size(), record) || !record.visible()) continue;
    REJOIN_ASSIGN(const bool there, rows.find(records.blob(0)));
    if (there || !crdt::decode_key(records.blob(0), t.key.size(), key, scratch)) continue;
    for (size_t i = 0; i < key.size(); ++i) insert.bind(static_cast<int>(i + 1), key[i]);
    REJOIN_TRY(insert.run("logging a row that was displaced"));
  }
}

}  // namespace

Status log_displaced(Work& work, uint64_t id) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(const int64_t tail, log_tail(ctx));
  const Table* found = ctx.catalog.find(id);
  if (!found || tail <= work.state.folded) return {};
  const Table table = *found;
  REJOIN_ASSIGN(
      const auto written,
      query_int(ctx.db, "SELECT EXISTS (SELECT 1 FROM main.rejoin_log WHERE seq>" + std::to_string(work.state.folded) +
                            " AND tbl=" + std::to_string(id) + " AND op BETWEEN " + std::to_string(kInsert) + " AND " +
                            std::to_string(kUpdate) + ")"));
  if (!written.value_or(0)) return {};
  REJOIN_TRY(log_written(work, table, tail));
  REJOIN_TRY(fold(work));
  REJOIN_TRY(log_recorded(ctx, table));
  return fold(work);
}

}  // namespace rejoin::sqlite
