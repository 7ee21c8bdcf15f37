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
  work.db().send(
      // Lateral: one look-up a key, whatever the planner thinks of a table that was never analysed. With k = ANY($3) or
      // a join it could walk over all records of the table.
      "SELECT u.n, r.rec, r.held, r.ctid::text FROM unnest($3::bytea[]) WITH ORDINALITY AS u(k, n) CROSS JOIN LATERAL "
      "(SELECT x.rec, x.held, x.ctid FROM rejoin.record AS x WHERE x.tenant = $1::integer AND x.tbl = $2::integer AND "
      "x.k = u.k OFFSET 0) AS r",
      Params().integer(work.state.id).integer(table.id).array(list));
}

Status read_records(Work& work, const Table& table, const Rows& rows, std::vector<StoredRow>& out) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto at = static_cast<size_t>(rows.integer(i, 0) - 1);
    if (at >= out.size()) continue;
    StoredRow& row = out[at];
    row.known = true;
    row.place = rows.text(i, 3);
    if (!crdt::decode_record(rows.bytes(i, 1), work.sites().size(), row.record) ||
        (!rows.is_null(i, 2) && !decode_held(rows.bytes(i, 2), row.held)))
      return fail(Code::corrupt, "the record of a row in " + table.display + " is damaged; run rejoin pg doctor");
  }
  return {};
}

void RecordBatch::add(BytesView key, const std::string& place, const crdt::RowRecord& record, const Held& held) {
  Bytes encoded;
  crdt::encode_record(record, encoded);
  Columns& columns = place.empty() ? new_ : known_;
  columns.where.add(place.empty() ? key : BytesView(place));
  columns.records.add(BytesView(encoded));
  if (held.empty())
    columns.held.add_null();
  else
    columns.held.add(BytesView(encode_held(held)));
}

void RecordBatch::send(Work& work, const Table& table, bool places) {
  if (new_.where.size() != 0)
    work.db().send(
        std::string("INSERT INTO rejoin.record(tenant, tbl, k, rec, held) SELECT $1::integer, $2::integer, u.k, u.rec, "
                    "u.held FROM unnest($3::bytea[], $4::bytea[], $5::bytea[]) AS u(k, rec, held)") +
            (places ? " RETURNING k, ctid::text" : ""),
        Params().integer(work.state.id).integer(table.id).array(new_.where).array(new_.records).array(new_.held));
  if (known_.where.size() != 0)
    work.db().send(
        "UPDATE rejoin.record AS r SET rec = u.rec, held = u.held FROM unnest($1::text[]::tid[], $2::bytea[], "
        "$3::bytea[]) AS u(place, rec, held) WHERE r.ctid = u.place",
        Params().array(known_.where).array(known_.records).array(known_.held));
  *this = {};
}

void LogBatch::add(const Table& table, uint32_t origin, BytesView key, bool life, bool whole,
                   const crdt::ColumnSet& columns) {
  auto it = std::find_if(open_.begin(), open_.end(),
                         [&](const Open& o) { return o.table == table.id && o.origin == origin; });
  if (it == open_.end()) it = open_.insert(it, Open{table.id, origin, {}});
  it->list.add(key, life, whole, columns);
  if (it->list.rows() >= kListRows) full_.push_back({it->table, it->origin, it->list.finish()});
}

void LogBatch::send_full(Work& work) {
  if (full_.empty()) return;
  if (token_ == 0) token_ = static_cast<int64_t>(work.tenant().random.u64() >> 1 | 1);
  Array seqs = Array::integers(), tables = Array::integers(), origins = Array::integers(), entries = Array::byteas();
  for (const Full& row : full_) {
    seqs.add(++work.state.tail);
    tables.add(row.table);
    origins.add(int64_t{row.origin});
    entries.add(BytesView(row.entries));
  }
  full_.clear();
  work.db().send(
      "INSERT INTO rejoin.log(tenant, seq, tbl, origin, token, entries) SELECT $1::integer, u.seq, u.tbl, u.origin, "
      "$2, "
      "u.entries FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[]) AS u(seq, tbl, origin, entries)",
      Params().integer(work.state.id).integer(token_).array(seqs).array(tables).array(origins).array(entries));
}

void LogBatch::send(Work& work) {
  for (Open& o : open_)
    if (!o.list.empty()) full_.push_back({o.table, o.origin, o.list.finish()});
  open_.clear();
  send_full(work);
  token_ = 0;
}

}  // namespace rejoin::postgres
