#include "postgres/records.h"

#include <algorithm>

namespace rejoin::postgres {
namespace {
constexpr uint64_t kListRows = 1024;  // a page of the feed holds one entry at least
}

crdt::RowRecord before_tracking(const Table& table) {
  crdt::RowRecord record;
  record.insert({crdt::kBeforeTrackingHlc, Work::kOwnSite}, static_cast<uint32_t>(table.columns.size()));
  return record;
}

void drop_absent(const Table& table, crdt::RowRecord& record) {
  crdt::ColumnSet absent;
  for (uint32_t c = 0; c < table.columns.size(); ++c)
    if (!table.columns[c].present) absent.add(c);
  if (!absent.empty()) record.write(absent, {});
}

void send_shape(Work& work, const Table& table) {
  static const std::string kSql = "SELECT " + shape_of("$1::oid");
  work.db().send(kSql, Params().integer(table.oid));
}

Status check_shape(Work& work, const Table& table, const Rows& rows) {
  if (!rows.empty() && rows.text(0, 0) == table.shape) return {};
  work.tenant().catalog_stale = true;
  return fail(Code::busy, "table " + table.display + " was altered at this moment; try again");
}

void send_records(Work& work, const Table& table, const std::vector<BytesView>& keys) {
  Array list = Array::byteas();
  for (BytesView key : keys) list.add(key);
  // One lookup a key, whatever the planner thinks of a table that was never analysed.
  work.db().send(
      // Lateral, or a plan could walk over all records of the table.
      "SELECT u.n, r.rec, r.held FROM unnest($3::bytea[]) WITH ORDINALITY AS u(k, n) CROSS JOIN LATERAL (SELECT x.rec, "
      "x.held FROM rejoin.record AS x WHERE x.tenant = $1::integer AND x.tbl = $2::integer AND x.k = u.k OFFSET 0) AS "
      "r",
      Params().integer(work.state.id).integer(table.id).array(list));
}

Status read_records(Work& work, const Table& table, const Rows& rows, std::vector<StoredRow>& out) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto at = static_cast<size_t>(rows.integer(i, 0) - 1);
    if (at >= out.size()) continue;
    StoredRow& row = out[at];
    row.known = true;
    if (!crdt::decode_record(rows.bytes(i, 1), work.sites().size(), row.record) ||
        (!rows.is_null(i, 2) && !decode_held(rows.bytes(i, 2), row.held)))
      return fail(Code::corrupt, "the record of a row in " + table.display + " is damaged; run rejoin pg doctor");
  }
  return {};
}

void RecordBatch::add(BytesView key, const crdt::RowRecord& record, const Held& held) {
  Bytes encoded;
  crdt::encode_record(record, encoded);
  keys_.add(key);
  records_.add(BytesView(encoded));
  if (held.empty())
    held_.add_null();
  else
    held_.add(BytesView(encode_held(held)));
}

void RecordBatch::send(Work& work, const Table& table) {
  if (empty()) return;
  work.db().send(
      "INSERT INTO rejoin.record(tenant, tbl, k, rec, held) SELECT $1::integer, $2::integer, u.k, u.rec, u.held FROM "
      "unnest($3::bytea[], $4::bytea[], $5::bytea[]) AS u(k, rec, held) ON CONFLICT (tenant, tbl, k) DO UPDATE SET rec "
      "= "
      "EXCLUDED.rec, held = EXCLUDED.held",
      Params().integer(work.state.id).integer(table.id).array(keys_).array(records_).array(held_));
  *this = {};
}

void LogBatch::add(const Table& table, uint32_t origin, BytesView key, bool life, bool whole,
                   const crdt::ColumnSet& columns) {
  auto it = std::find_if(lists_.begin(), lists_.end(),
                         [&](const List& l) { return l.table == table.id && l.origin == origin; });
  if (it == lists_.end()) it = lists_.insert(it, List{table.id, origin, {}, {}});
  it->open.add(key, life, whole, columns);
  if (it->open.rows() >= kListRows) it->full.push_back(it->open.finish());
}

void LogBatch::send(Work& work) {
  if (lists_.empty()) return;
  Array seqs = Array::integers(), tables = Array::integers(), origins = Array::integers(), entries = Array::byteas();
  for (List& list : lists_) {
    if (!list.open.empty()) list.full.push_back(list.open.finish());
    for (const Bytes& entry : list.full) {
      seqs.add(++work.state.tail);
      tables.add(list.table);
      origins.add(int64_t{list.origin});
      entries.add(BytesView(entry));
    }
  }
  lists_.clear();
  const auto token = static_cast<int64_t>(work.tenant().random.u64() >> 1 | 1);
  work.db().send(
      "INSERT INTO rejoin.log(tenant, seq, tbl, origin, token, entries) SELECT $1::integer, u.seq, u.tbl, u.origin, "
      "$2, "
      "u.entries FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[]) AS u(seq, tbl, origin, entries)",
      Params().integer(work.state.id).integer(token).array(seqs).array(tables).array(origins).array(entries));
}

}  // namespace rejoin::postgres
