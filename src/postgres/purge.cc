#include "postgres/purge.h"

#include <algorithm>
#include <map>

#include "codec/cursor.h"
#include "codec/merged_list.h"
#include "crdt/admission.h"
#include "postgres/view.h"
#include "sync/page_place.h"

namespace rejoin::postgres {
namespace {

constexpr int64_t kMsPerDay = int64_t{24} * 3600 * 1000;
constexpr int64_t kAgainMs = int64_t{3600} * 1000;  // after a look that somebody was in the way of
constexpr int64_t kRecordsAtOnce = 16'384;          // beside a request
constexpr int64_t kMostGone = 8'192;                // deletions that one chunk forgets: bounds the time of its lock
constexpr int64_t kMostProbes = 200'000;            // of rejoin.shown for them, which has a row for each view
constexpr int64_t kLogRowsAtOnce = 64;

// Who reads a tenant's log. A device that was not seen for as long as deletions are kept does not count.
struct Readers {
  int64_t known = 0, counted = 0, slowest = 0;
  std::optional<int64_t> keep_days;
  crdt::Hlc limit = 0;  // what is deleted and has no later stamp was kept for long enough
  bool views = false;   // callers are given views of their own: the schema has had tables for them since version 2
};

Result<Readers> readers(Work& work, int64_t now_ms, std::optional<int64_t> keep_days) {
  work.db().send("SELECT (to_jsonb(m) ->> 'keep_days')::int8, version >= 2 FROM rejoin.meta AS m");
  REJOIN_ASSIGN(std::vector<Rows> meta, work.db().sync());
  Readers out;
  out.keep_days = keep_days;
  if (!keep_days && !meta.back().empty() && !meta.back().is_null(0, 0)) out.keep_days = meta.back().integer(0, 0);
  out.views = !meta.back().empty() && meta.back().integer(0, 1) != 0;
  const int64_t before = now_ms - out.keep_days.value_or(kKeepDays) * kMsPerDay;
  REJOIN_ASSIGN(Rows rows, work.db().query("SELECT count(*), count(*) FILTER (WHERE last_seen > $2), "
                                           "coalesce(min(acknowledged) FILTER (WHERE last_seen > $2), 0) FROM "
                                           "rejoin.device WHERE tenant = $1::integer",
                                           Params().integer(work.state.id).integer(before)));
  out.known = rows.integer(0, 0);
  out.counted = rows.integer(0, 1);
  out.slowest = rows.integer(0, 2);
  // All of that millisecond.
  out.limit = before > 0 ? crdt::hlc_of_ms(before) | 0xffff : 0;
  return out;
}

// Log positions below it may go.
int64_t floor_of(const Work& work, const Readers& readers) {
  const int64_t has = readers.counted > 0 ? std::min(readers.slowest, work.state.tail) : work.state.tail;
  return std::max(work.state.floor, has);
}

// Everybody who counts has what the log does not hold any more: then a deletion that it does not name is no news.
// Nobody is known: only those who said how long to keep deletions want any forgotten.
bool everybody_has(const Readers& readers, int64_t floor) {
  if (readers.counted > 0) return readers.slowest >= floor;
  return readers.known > 0 || readers.keep_days.has_value();
}

// Records of one table, by key.
using Candidates = std::map<Bytes, Bytes>;

struct Looked {
  Candidates rows;
  int64_t records = 0;
  Bytes last;         // where the look ended
  bool done = false;  // at the table's end
};

// The dead among the next records, of whose stamps none is above the limit. The first stamp of a record, its
// milliseconds in 6 bytes, tells of most that they are younger (docs/formats-record.md).
Result<Looked> look_at(Work& look, const Table& table, BytesView after, crdt::Hlc limit, int64_t records, size_t most) {
  Bytes first(6, '\0');
  for (size_t i = 0; i < first.size(); ++i) first[i] = static_cast<char>(crdt::ms_of_hlc(limit) >> (40 - 8 * i));
  REJOIN_ASSIGN(
      Rows rows,
      look.db().query(
          // Without liveness and birth another field comes first.
          "WITH part AS (SELECT k, rec, row_number() OVER (ORDER BY k) AS n FROM (SELECT k, rec FROM rejoin.record "
          "WHERE tenant = $1::integer AND tbl = $2::integer AND k > $3 ORDER BY k LIMIT $4) AS x), dead AS (SELECT k, "
          "rec, n FROM part WHERE get_byte(rec, 0) & 1 = 0 AND (get_byte(rec, 0) & 6 = 0 OR "
          "substring(rec FROM 2 FOR 6) <= $5) ORDER BY n LIMIT $6) "
          "SELECT k, rec, n, 0 FROM dead UNION ALL (SELECT k, NULL, n, 1 FROM part ORDER BY n DESC "
          "LIMIT 1) ORDER BY 4, 3",
          Params()
              .integer(look.state.id)
              .integer(table.id)
              .bytea(after)
              .integer(records)
              .bytea(first)
              .integer(static_cast<int64_t>(most))));
  Looked out;
  out.last = after;
  if (rows.empty()) {
    out.done = true;
    return out;
  }
  const size_t dead = rows.size() - 1;
  // A full list ends the look where it ends.
  const size_t end = dead == most ? dead - 1 : dead;
  out.last = rows.bytes(end, 0);
  out.records = rows.integer(end, 2);
  out.done = end == dead && out.records < records;
  crdt::RowRecord record;
  for (size_t i = 0; i < dead; ++i)
    if (crdt::decode_record(rows.bytes(i, 1), look.sites().size(), record) && crdt::newest_stamp(record) <= limit)
      out.rows.emplace(rows.bytes(i, 0), rows.bytes(i, 1));
  return out;
}

// Rows that the log names behind a position are news to somebody. Gives whether there were any.
Result<bool> leave_news(Work& work, const Table& table, int64_t after, Candidates& rows) {
  const size_t before = rows.size();
  while (!rows.empty()) {
    REJOIN_ASSIGN(
        Rows log,
        work.db().query("SELECT seq, entries FROM rejoin.log WHERE tenant = $1::integer AND seq > "
                        "$2 AND tbl = $3::integer ORDER BY seq LIMIT $4",
                        Params().integer(work.state.id).integer(after).integer(table.id).integer(kLogRowsAtOnce)));
    for (size_t i = 0; i < log.size(); ++i) {
      after = log.integer(i, 0);
      codec::MergedListReader list(log.bytes(i, 1));
      while (list.next()) rows.erase(Bytes(list.key));
      if (!list.ok())
        return fail(Code::corrupt, "log entry " + std::to_string(after) + " of tenant " + work.tenant().name +
                                       " is damaged; run rejoin pg doctor");
    }
    if (log.size() < static_cast<size_t>(kLogRowsAtOnce)) break;
  }
  return rows.size() < before;
}

// Those that are still as they were. What views were given of them goes too.
Result<int64_t> forget(Work& work, const Table& table, const Candidates& rows) {
  Array keys = Array::byteas(), records = Array::byteas();
  std::vector<crdt::Hlc> newest;
  crdt::RowRecord record;
  for (const auto& [key, rec] : rows) {
    if (!crdt::decode_record(rec, work.sites().size(), record)) continue;
    keys.add(BytesView(key));
    records.add(BytesView(rec));
    newest.push_back(crdt::newest_stamp(record));
  }
  REJOIN_ASSIGN(
      Rows gone,
      work.db().query(
          "DELETE FROM rejoin.record AS r USING (SELECT u.n, x.place FROM unnest($3::bytea[], $4::bytea[]) WITH "
          "ORDINALITY AS u(k, rec, n) CROSS JOIN LATERAL (SELECT y.ctid AS place, y.rec FROM rejoin.record AS y WHERE "
          "y.tenant = $1::integer AND y.tbl = $2::integer AND y.k = u.k OFFSET 0) AS x WHERE x.rec = u.rec) AS p WHERE "
          "r.ctid = p.place RETURNING p.n",
          Params().integer(work.state.id).integer(table.id).array(keys).array(records)));
  if (gone.empty()) return int64_t{0};
  for (size_t i = 0; i < gone.size(); ++i)
    work.state.horizon = std::max(work.state.horizon, newest[static_cast<size_t>(gone.integer(i, 0) - 1)]);
  // Readers that stand before the floor may have missed them; a device that was not seen for long comes from there.
  work.state.purged = std::max(work.state.purged, work.state.floor);
  forget_shown(work, table, keys);
  work.db().send("UPDATE rejoin.tenant SET horizon = $1, purged = $2 WHERE id = rejoin.tenant_id()",
                 Params().integer(static_cast<int64_t>(work.state.horizon)).integer(work.state.purged));
  work.db().send(
      "UPDATE rejoin.device SET acknowledged = -1 WHERE tenant = rejoin.tenant_id() AND acknowledged >= 0 AND "
      "acknowledged < $1",
      Params().integer(work.state.floor));
  return static_cast<int64_t>(gone.size());
}

// What a look has found.
struct Found {
  const Table* table = nullptr;
  Candidates rows;
  int64_t tail = 0;  // of the log that it has read
  PurgePlace next;
  bool blocked = false;  // somebody has not read far enough
  Purged outcome;
};

// The next table's records from `place` on.
Result<Found> look_on(Work& look, const Purge& purge, const PurgePlace& place) {
  Found found;
  found.tail = look.state.tail;
  REJOIN_ASSIGN(const Readers read_by, readers(look, purge.now_ms, purge.keep_days));
  // Of what goes first nothing holds anything back.
  const int64_t floor = purge.dry_run ? floor_of(look, read_by) : look.state.floor;
  found.blocked = !everybody_has(read_by, floor);
  if (found.blocked) return found;
  REJOIN_ASSIGN(Rows views, look.db().query("SELECT count(*) FROM rejoin.view WHERE tenant = $1::integer",
                                            Params().integer(look.state.id)));
  const auto most = static_cast<size_t>(std::clamp<int64_t>(kMostProbes / (views.integer(0, 0) + 1), 64, kMostGone));
  int64_t records = purge.most_records;
  for (const Table& table : look.catalog().tables) {
    if (table.id < place.table) continue;
    const Bytes after = table.id == place.table ? place.key : Bytes();
    REJOIN_ASSIGN(Looked looked, look_at(look, table, after, read_by.limit, records, most));
    records -= looked.records;
    found.next = looked.done ? PurgePlace{table.id + 1, {}} : PurgePlace{table.id, looked.last};
    found.outcome.more = !looked.done || &table != &look.catalog().tables.back();
    if (looked.rows.empty() && found.outcome.more && records > 0) continue;
    found.table = &table;
    found.rows = std::move(looked.rows);
    REJOIN_ASSIGN(found.outcome.log_holds, leave_news(look, table, floor, found.rows));
    break;
  }
  if (!found.outcome.more) found.next = {};
  return found;
}

// Forgets what was found, under the tenant's lock.
Status forget_found(Work& work, const Purge& purge, Found& found) {
  const Table* table = found.rows.empty() ? nullptr : work.catalog().find(found.table->id);
  if (!table) return {};
  REJOIN_ASSIGN(const Readers read_by, readers(work, purge.now_ms, purge.keep_days));
  if (!everybody_has(read_by, work.state.floor)) return {};
  REJOIN_ASSIGN(const bool named, leave_news(work, *table, found.tail, found.rows));
  found.outcome.log_holds |= named;
  if (found.rows.empty()) return {};
  REJOIN_ASSIGN(found.outcome.deletions, forget(work, *table, found.rows));
  return {};
}

}  // namespace

Result<int64_t> compact_log(Work& work, int64_t now_ms, std::optional<int64_t> keep_days) {
  REJOIN_ASSIGN(const Readers read_by, readers(work, now_ms, keep_days));
  const int64_t floor = floor_of(work, read_by);
  if (floor <= work.state.floor) return int64_t{0};
  REJOIN_ASSIGN(Rows gone, work.db().query("DELETE FROM rejoin.log WHERE tenant = rejoin.tenant_id() AND seq < $1",
                                           Params().integer(floor)));
  work.state.floor = floor;
  if (read_by.views) forget_views(work, now_ms - read_by.keep_days.value_or(kKeepDays) * kMsPerDay);
  return static_cast<int64_t>(gone.affected());
}

void send_place(Connection& db, const std::string& device, const crdt::SiteId& site, BytesView cursor) {
  const auto place = codec::decode_cursor(cursor);
  db.send(
      "SELECT EXISTS (SELECT FROM rejoin.device WHERE tenant = rejoin.tenant_id() AND device = $1 AND site = $2 AND "
      "acknowledged < 0), (SELECT token FROM rejoin.log WHERE tenant = rejoin.tenant_id() AND seq >= $3 ORDER BY seq "
      "LIMIT 1)",
      Params().text(device).bytea(site.view()).integer(place ? static_cast<int64_t>(place->position) : 0));
}

bool missed_deletions(const Work& work, const Rows& place, BytesView cursor) {
  if (work.state.horizon == 0) return false;
  const bool marked = place.integer(0, 0) != 0;
  if (cursor.empty()) return marked;
  const auto at = codec::decode_cursor(cursor);
  const auto token = place.is_null(0, 1) ? std::nullopt : std::optional<int64_t>(place.integer(0, 1));
  return at && sync::missed_deletions(*at, token, {work.state.tail, work.state.floor, work.state.purged}, marked);
}

Result<Purged> purge_some(Connection& db, Tenant& tenant, const Purge& purge, PurgePlace& place) {
  Found found;
  std::shared_ptr<const Catalog> catalog;  // what was found points into it
  {
    REJOIN_ASSIGN(Work look, Work::begin(db, tenant, Work::Mode::look));
    if (look.state.id == 0) return Purged();
    catalog = tenant.catalog;
    REJOIN_ASSIGN(found, look_on(look, purge, place));
    REJOIN_TRY(look.commit());
  }
  if (purge.dry_run) {
    found.outcome.deletions = static_cast<int64_t>(found.rows.size());
  } else if (!found.rows.empty()) {
    REJOIN_ASSIGN(Work work, Work::begin(db, tenant, Work::Mode::merge));
    REJOIN_TRY(forget_found(work, purge, found));
    REJOIN_TRY(work.commit());
    tenant.forgotten += found.outcome.deletions;
  }
  place = std::move(found.next);
  return found.outcome;
}

Status purge_a_little(Connection& db, Tenant& tenant, std::optional<int64_t> looked_ms, int64_t now_ms) {
  // PostgreSQL's clock says when a tenant was made, this node's what is now.
  if (!looked_ms || (now_ms > *looked_ms - kMsPerDay && now_ms < *looked_ms + kMsPerDay)) return {};
  const Purge purge{now_ms, {}, false, kRecordsAtOnce};
  constexpr const char* kPlace =
      "SELECT coalesce(look_tbl, 0)::int8, coalesce(look_k, ''), looked FROM rejoin.tenant WHERE id = "
      "rejoin.tenant_id()";
  Found found;
  PurgePlace place;
  std::shared_ptr<const Catalog> catalog;
  {
    REJOIN_ASSIGN(Work look, Work::begin(db, tenant, Work::Mode::look));
    catalog = tenant.catalog;
    REJOIN_ASSIGN(Rows rows, db.query(kPlace, {}));
    if (rows.empty() || rows.integer(0, 2) != *looked_ms) return {};
    place = {rows.integer(0, 0), Bytes(rows.bytes(0, 1))};
    REJOIN_ASSIGN(found, look_on(look, purge, place));
    REJOIN_TRY(look.commit());
  }
  // Behind a request: a failover that loses it only remembers more.
  REJOIN_ASSIGN(Work work, Work::begin(db, tenant, Work::Mode::aside));
  REJOIN_ASSIGN(Rows rows, db.query(kPlace, {}));
  // Another node has been here.
  if (rows.integer(0, 0) != place.table || rows.bytes(0, 1) != place.key || rows.integer(0, 2) != *looked_ms) return {};
  REJOIN_TRY(forget_found(work, purge, found));
  if (found.outcome.log_holds) {
    // What it names is older than what anybody keeps. Without it these are looked at again.
    const int64_t before = work.state.floor;
    REJOIN_TRY(compact_log(work, now_ms));
    if (work.state.floor > before) found.next = std::move(place), found.outcome.more = true;
  }
  db.send("UPDATE rejoin.tenant SET look_tbl = $1::integer, look_k = $2, looked = $3 WHERE id = rejoin.tenant_id()",
          Params()
              .integer(found.next.table)
              .bytea(found.next.key)
              .integer(found.outcome.more ? *looked_ms
                       : found.blocked    ? now_ms - kMsPerDay + kAgainMs
                                          : now_ms));
  REJOIN_TRY(work.commit());
  tenant.forgotten += found.outcome.deletions;
  return {};
}

}  // namespace rejoin::postgres
