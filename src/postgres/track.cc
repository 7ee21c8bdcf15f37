// Making a PostgreSQL table a synced one.
#include <algorithm>
#include <set>

#include "crdt/key.h"
#include "postgres/admin.h"
#include "postgres/base_rows.h"
#include "postgres/capture.h"
#include "postgres/fold.h"
#include "postgres/records.h"
#include "postgres/short_locks.h"

namespace rejoin::postgres {
namespace {

constexpr size_t kTrackRows = 5'000;
constexpr int kMostSearches = 8;  // of meeting rows that others delete and insert at the same moment

// A stamp for what was found now.
crdt::Stamp now_stamp(Work& work) {
  work.state.last = std::max(crdt::hlc_of_ms(work.tenant().clock.now_ms()), work.state.last + 1);
  return {work.state.last, Work::kOwnSite};
}

// Records for the rows of one tenant that have none yet: their stamp loses to any later write. Returns how many.
Result<int64_t> record_rows(Connection& db, Tenant& tenant, int64_t table_id,
                            const std::function<void(int64_t)>& progress, int64_t so_far) {
  std::vector<std::string> after;  // text forms of the last key
  int64_t recorded = 0;
  for (;;) {
    REJOIN_ASSIGN(Work work, Work::begin(db, tenant, Work::Mode::merge));
    const Table* table = work.catalog().find(table_id);
    if (!table) return fail(Code::not_found, "the table was untracked meanwhile");
    REJOIN_TRY(fold(work));
    std::string keys, order, bound;
    Params params;
    for (size_t i = 0; i < table->key.size(); ++i) {
      const Column& c = table->key[i];
      keys += (i ? ", " : "") + read_expression(c.type, "t." + c.quoted);
      order += (i ? ", t." : "t.") + c.quoted;
      if (!after.empty()) {
        params.text(after[i]);
        bound += (i ? ", " : "") + write_expression(c.type, "$" + std::to_string(i + 1) + "::text");
      }
    }
    std::string where = after.empty() ? "" : " WHERE (" + order + ") > (" + bound + ")";
    if (table->tenant) {
      params.text(tenant.name);
      where += std::string(where.empty() ? " WHERE " : " AND ") + "t." + table->tenant->quoted + " = " +
               write_expression(table->tenant->type, "($" + std::to_string(params.size()) + "::text)");
    }
    REJOIN_ASSIGN(Rows rows, db.query("SELECT " + keys + " FROM " + table->sql + " AS t" + where + " ORDER BY " +
                                          order + " LIMIT " + std::to_string(kTrackRows),
                                      params));
    if (rows.empty()) {
      REJOIN_TRY(work.commit());
      return recorded;
    }
    std::vector<Bytes> encoded;
    std::vector<TextElement> texts(table->key.size());
    for (size_t r = 0; r < rows.size(); ++r) {
      for (size_t i = 0; i < texts.size(); ++i) texts[i] = {false, rows.bytes(r, static_cast<int>(i))};
      encoded.push_back(encode_text_key(*table, texts));
    }
    after.clear();
    for (const TextElement& t : texts) after.emplace_back(t.text);
    std::vector<BytesView> views(encoded.begin(), encoded.end());
    send_records(work, *table, views);
    REJOIN_ASSIGN(std::vector<Rows> known, db.sync());
    std::vector<StoredRow> stored(views.size());
    REJOIN_TRY(read_records(work, *table, known[0], stored));
    RecordBatch records;
    LogBatch log;
    crdt::RowRecord record = before_tracking(*table);
    drop_absent(*table, record);
    for (size_t i = 0; i < views.size(); ++i) {
      if (stored[i].known && stored[i].record.alive) continue;
      if (encoded[i].size() > kMostKeyBytes) continue;
      // A dead row that is there again was inserted while capture was off.
      if (stored[i].known) {
        stored[i].record.insert(now_stamp(work), static_cast<uint32_t>(table->columns.size()));
        drop_absent(*table, stored[i].record);
        stored[i].held.clear();
        records.add(views[i], stored[i]);
      } else {
        records.add_new(views[i], record);
      }
      log.add(*table, Work::kOwnSite, views[i], true, true, {});
      ++recorded;
    }
    records.send(work, *table);
    log.send(work);
    REJOIN_TRY(work.commit());
    if (progress) progress(so_far + recorded);
  }
}

// What is to be known of a table that is tracked, and the capture that knows it. In one transaction: a column that
// counts as synced and is not captured would never be missed.
std::string announce_sql(const Table& table, size_t first) {
  std::string sql;
  for (size_t c = first; c < table.columns.size(); ++c)
    sql += "INSERT INTO rejoin.tracked_column(tbl, id, name) VALUES (" + std::to_string(table.id) + ", " +
           std::to_string(c) + ", " + quote_text(table.columns[c].name) + ");";
  // With the triggers comes the table's lock. Was a column synced before it, which the triggers would not know, all of
  // this is done once more, as after a deadlock; a lock that is had before would keep writers waiting for longer.
  return sql + capture_sql(table) +
         "DO $$ BEGIN IF (SELECT coalesce(max(id) + 1, 0) FROM rejoin.tracked_column WHERE tbl = " +
         std::to_string(table.id) + ") <> " + std::to_string(table.columns.size()) +
         " THEN RAISE deadlock_detected USING MESSAGE = 'the table is changed by others at the same moment'; END IF; "
         "END $$;UPDATE rejoin.meta SET catalog = catalog + 1;";
}

// Goes through the records of one tenant, in batches, each a transaction. `visit` gets the keys, what is stored of them
// and the rows of the table (number from 1, values of `reads`); it queues what it changes.
using Visit =
    std::function<void(Work&, const Table&, const std::vector<BytesView>&, std::vector<StoredRow>&, const Rows&)>;
Status each_record(Connection& db, Tenant& tenant, int64_t table_id, const crdt::ColumnSet& reads, const Visit& visit) {
  Bytes after;
  for (;;) {
    REJOIN_ASSIGN(Work work, Work::begin(db, tenant, Work::Mode::merge));
    const Table* table = work.catalog().find(table_id);
    if (!table) return {};
    REJOIN_TRY(fold(work));
    REJOIN_ASSIGN(Rows rows,
                  db.query("SELECT k FROM rejoin.record WHERE tenant = $1::integer AND tbl = $2::integer AND k > "
                           "$3 ORDER BY k LIMIT " +
                               std::to_string(kTrackRows),
                           Params().integer(work.state.id).integer(table_id).bytea(after)));
    std::vector<BytesView> keys;
    KeyArrays arrays(*table);
    for (size_t i = 0; i < rows.size(); ++i) {
      keys.push_back(rows.bytes(i, 0));
      REJOIN_TRY(arrays.add(keys.back()));
    }
    if (keys.empty()) return work.commit();
    after = keys.back();
    // Locked, and what was captured meanwhile folded: nobody writes them between the reading and the recording. A row
    // that was deleted and inserted anew while this waited for it is not found, though the fold tells of it: the next
    // statement sees it. One that is not found again is gone.
    std::vector<Rows> locked;
    std::vector<StoredRow> stored;
    std::vector<size_t> missing, before;
    size_t locked_at;
    for (int round = 0; round < kMostSearches; ++round) {
      locked_at = db.queued();
      send_lock(work, *table, arrays, reads);
      REJOIN_ASSIGN(locked, db.sync());
      REJOIN_TRY(fold(work));
      const size_t at = db.queued();
      send_records(work, *table, keys);
      REJOIN_ASSIGN(std::vector<Rows> known, db.sync());
      stored.assign(keys.size(), {});
      REJOIN_TRY(read_records(work, *table, known[at], stored));
      std::vector<bool> found(keys.size(), false);
      for (size_t r = 0; r < locked[locked_at].size(); ++r)
        found[static_cast<size_t>(locked[locked_at].integer(r, 0) - 1)] = true;
      before = std::exchange(missing, {});
      for (size_t i = 0; i < keys.size(); ++i)
        if (!found[i] && stored[i].record.alive) missing.push_back(i);
      if (missing.empty() || (round > 0 && missing == before)) break;
    }
    visit(work, *table, keys, stored, locked[locked_at]);
    REJOIN_TRY(work.commit());
  }
}

// The rows that have something in the new columns become news.
Status record_columns(Connection& db, Tenant& tenant, int64_t table_id, size_t first, size_t count) {
  crdt::ColumnSet reads;
  for (size_t c = first; c < count; ++c) reads.add(static_cast<uint32_t>(c));
  return each_record(db, tenant, table_id, reads,
                     [&](Work& work, const Table& table, const std::vector<BytesView>& keys,
                         std::vector<StoredRow>& stored, const Rows& base) {
                       RecordBatch records;
                       LogBatch log;
                       for (size_t r = 0; r < base.size(); ++r) {
                         const auto i = static_cast<size_t>(base.integer(r, 0) - 1);
                         crdt::RowRecord& record = stored[i].record;
                         if (!record.alive) continue;
                         // Rows that were born here get the stamp of their birth. Those of a device may have got values
                         // there that were refused for want of the column: such a value is worth more than a NULL that
                         // nobody wrote, and the device raises it above a DEFAULT (sqlite/late_columns.h).
                         const bool own = record.birth.bottom() || record.birth.site == Work::kOwnSite;
                         crdt::ColumnSet fresh;
                         int at = 1;
                         for (size_t c = first; c < count; ++c, ++at)
                           if (record.stamp_of(static_cast<uint32_t>(c)).bottom() && (own || !base.is_null(r, at)))
                             fresh.add(static_cast<uint32_t>(c));
                         if (fresh.empty()) continue;
                         crdt::Stamp stamp = record.birth.bottom()
                                                 ? crdt::Stamp{crdt::kBeforeTrackingHlc, Work::kOwnSite}
                                                 : record.birth;
                         if (!own) {
                           stamp = {record.birth.hlc + 1, Work::kOwnSite};
                           work.state.last = std::max(work.state.last, stamp.hlc);
                         }
                         record.write(fresh, stamp);
                         crdt::canonicalise(record, work.sites());
                         records.add(keys[i], stored[i]);
                         log.add(table, Work::kOwnSite, keys[i], false, false, fresh);
                       }
                       records.send(work, table);
                       log.send(work);
                     });
}

// Rows that were deleted while capture was off.
Status record_losses(Connection& db, Tenant& tenant, int64_t table_id) {
  return each_record(db, tenant, table_id, {},
                     [&](Work& work, const Table& table, const std::vector<BytesView>& keys,
                         std::vector<StoredRow>& stored, const Rows& base) {
                       std::vector<bool> there(keys.size(), false);
                       for (size_t r = 0; r < base.size(); ++r)
                         there[static_cast<size_t>(base.integer(r, 0) - 1)] = true;
                       RecordBatch records;
                       LogBatch log;
                       for (size_t i = 0; i < keys.size(); ++i) {
                         crdt::RowRecord& record = stored[i].record;
                         if (there[i] || !record.alive) continue;
                         record.alive = false;
                         record.live = now_stamp(work);
                         records.add(keys[i], stored[i]);
                         log.add(table, Work::kOwnSite, keys[i], true, false, {});
                       }
                       records.send(work, table);
                       log.send(work);
                     });
}

Result<std::vector<std::string>> tenants_of(Connection& db, const Table& table) {
  if (!table.tenant) return std::vector<std::string>{table.owner};
  REJOIN_ASSIGN(Rows rows, db.query("SELECT DISTINCT t." + table.tenant->quoted + "::text FROM " + table.sql +
                                    " AS t WHERE t." + table.tenant->quoted + " IS NOT NULL ORDER BY 1"));
  // Those who have records too: all their rows may have been deleted while capture was off.
  db.send("BEGIN READ ONLY");
  db.send("SELECT set_config('rejoin.all_tenants', 'on', true)");
  db.send(
      "SELECT n.name FROM rejoin.tenant n WHERE EXISTS (SELECT FROM rejoin.record r WHERE r.tenant = n.id AND r.tbl = "
      "$1::integer)",
      Params().integer(table.id));
  db.send("COMMIT");
  REJOIN_ASSIGN(std::vector<Rows> known, db.sync());
  std::set<std::string> out;
  for (const Rows* of : {&rows, &known[2]})
    for (size_t i = 0; i < of->size(); ++i) out.insert(of->text(i, 0));
  return std::vector<std::string>(out.begin(), out.end());
}

// A table that is made a synced one.
struct Making {
  Table wanted;  // its columns by id
  Tracked out;
  size_t first_new = 0;  // the first column that was not known
};

// In the transaction in which it is tracked.
Result<std::string> tracking_sql(Connection& db, const TrackRequest& request, Making& making) {
  if (!request.make.empty()) REJOIN_TRY(db.script(request.make));
  Table& wanted = making.wanted;
  Tracked& out = making.out;
  REJOIN_ASSIGN(wanted, describe_table(db, request.relation, request.tenant_column));
  if (!request.name.empty()) wanted.name = request.name;
  wanted.own_name = same_name(wanted.name, wanted.relation);
  wanted.owner = request.tenant_column.empty() ? request.tenant : "";
  REJOIN_ASSIGN(const Catalog catalog, load_catalog(db));
  out.name = wanted.name;
  for (const Table& known : catalog.tables) {
    if (known.sql != wanted.sql) continue;
    if (!known.key_was.empty()) return fail(Code::untrackable, why_unserved(known));
    out.already = true;
    out.name = known.name;
    making.first_new = known.columns.size();
    Table grown = known;
    // A function that an earlier build has made after a rename does not tell.
    grown.own_name |= !request.name.empty() && same_name(request.name, known.relation);
    for (const std::string& name : known.unannounced)
      for (const Column& c : wanted.columns)
        if (c.name == name) grown.columns.push_back(c);
    wanted = std::move(grown);
    return announce_sql(wanted, making.first_new);
  }
  if (const Table* taken = catalog.find(wanted.name))
    return fail(Code::untrackable, "cannot track " + wanted.display + ": devices know " + taken->display + " as \"" +
                                       wanted.name + "\" already; give it another name with --as NAME");
  Catalog one;
  one.tables.push_back(wanted);
  if (Status fit = contract::check(to_contract(one)); !fit.ok())
    return fail(Code::untrackable, "cannot track " + wanted.display + ": " + fit.error().message);
  // A table of this name that was dropped is another one.
  REJOIN_ASSIGN(Rows dropped,
                db.query("SELECT k.id::int8 FROM rejoin.tracked k WHERE k.name = $1 AND NOT EXISTS (SELECT "
                         "FROM pg_class c WHERE c.oid = k.relation)",
                         Params().text(wanted.name)));
  if (!dropped.empty()) REJOIN_TRY(db.script(forget_sql(dropped.integer(0, 0))));
  REJOIN_ASSIGN(Rows id,
                db.query("INSERT INTO rejoin.tracked(relation, name, tenant_column, tenant) VALUES "
                         "(to_regclass($1), $2, nullif($3, ''), nullif($4, '')) RETURNING id::int8",
                         Params().text(wanted.sql).text(wanted.name).text(request.tenant_column).text(wanted.owner)));
  wanted.id = id.integer(0, 0);
  return announce_sql(wanted, 0);
}

}  // namespace

Result<std::vector<Tracked>> track_together(Connection& db, const std::vector<TrackRequest>& requests,
                                            const std::function<Result<std::string>()>& also, Random& random,
                                            const std::function<void(int64_t)>& progress) {
  REJOIN_TRY(installed_version(db));
  REJOIN_TRY(check_encoding(db));
  std::vector<Making> makings;
  const Status made = with_short_locks(db, [&]() -> Result<std::string> {
    makings.clear();
    std::string sql;
    if (also) {
      REJOIN_ASSIGN(sql, also());
    }
    for (const TrackRequest& request : requests) {
      makings.emplace_back();
      REJOIN_ASSIGN(const std::string part, tracking_sql(db, request, makings.back()));
      sql += part;
    }
    return sql;
  });
  if (!made.ok()) {
    if (db.last_error().state != "55P03") return made.error();
    const std::string table = requests.size() == 1 && !also ? "table " + requests[0].relation : "a table";
    return fail(Code::busy, table + " is locked by others for more than 5 s; try again");
  }
  std::vector<Tracked> out;
  for (Making& making : makings) {
    const Table& wanted = making.wanted;
    Tracked& tracked = making.out;
    REJOIN_ASSIGN(std::vector<std::string> tenants, tenants_of(db, wanted));
    for (const std::string& name : tenants) {
      Tenant tenant(name, system_clock(), random);
      REJOIN_ASSIGN(int64_t rows, record_rows(db, tenant, wanted.id, progress, tracked.rows));
      tracked.rows += rows;
      if (tracked.already) REJOIN_TRY(record_losses(db, tenant, wanted.id));
      if (tracked.already && making.first_new < wanted.columns.size()) {
        REJOIN_TRY(record_columns(db, tenant, wanted.id, making.first_new, wanted.columns.size()));
        tracked.columns = static_cast<int64_t>(wanted.columns.size() - making.first_new);
      }
    }
    out.push_back(std::move(tracked));
  }
  return out;
}

Result<Tracked> track(Connection& db, const TrackRequest& request, Random& random,
                      const std::function<void(int64_t)>& progress) {
  REJOIN_ASSIGN(const std::vector<Tracked> tracked, track_together(db, {request}, {}, random, progress));
  return tracked.front();
}

}  // namespace rejoin::postgres
