// Making a PostgreSQL table a synced one.
#include <algorithm>

#include "crdt/key.h"
#include "postgres/admin.h"
#include "postgres/base_rows.h"
#include "postgres/capture.h"
#include "postgres/fold.h"
#include "postgres/records.h"

namespace rejoin::postgres {
namespace {

constexpr size_t kBatchRows = 5'000;

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
      where += std::string(where.empty() ? " WHERE " : " AND ") + "t." + table->tenant->quoted + " = ($" +
               std::to_string(params.size()) + "::text)::" + table->tenant->type.sql;
    }
    REJOIN_ASSIGN(Rows rows, db.query("SELECT " + keys + " FROM " + table->sql + " AS t" + where + " ORDER BY " +
                                          order + " LIMIT " + std::to_string(kBatchRows),
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
    const crdt::RowRecord record = before_tracking(*table);
    for (size_t i = 0; i < views.size(); ++i) {
      if (stored[i].known) continue;
      records.add(views[i], record, {});
      log.add(*table, Work::kOwnSite, views[i], true, true, {});
      ++recorded;
    }
    records.send(work, *table);
    log.send(work);
    REJOIN_TRY(work.commit());
    if (progress) progress(so_far + recorded);
  }
}

// New columns of a table that is tracked already: what they hold counts as older than its tracking, and is news.
Status announce_columns(Connection& db, const Table& table) {
  std::string sql = "BEGIN;";
  size_t next = table.columns.size();
  for (const std::string& name : table.unannounced)
    sql += "INSERT INTO rejoin.tracked_column(tbl, id, name) VALUES (" + std::to_string(table.id) + ", " +
           std::to_string(next++) + ", " + quote_text(name) + ");";
  return db.script(sql + "UPDATE rejoin.meta SET catalog = catalog + 1; COMMIT;");
}

// The rows that have something in the new columns become news.
Status record_columns(Connection& db, Tenant& tenant, int64_t table_id, size_t first) {
  Bytes after;
  for (;;) {
    REJOIN_ASSIGN(Work work, Work::begin(db, tenant, Work::Mode::merge));
    const Table* table = work.catalog().find(table_id);
    if (!table) return {};
    REJOIN_TRY(fold(work));
    REJOIN_ASSIGN(Rows rows,
                  db.query("SELECT k FROM rejoin.record WHERE tenant = $1::integer AND tbl = $2::integer AND k > "
                           "$3 ORDER BY k LIMIT " +
                               std::to_string(kBatchRows),
                           Params().integer(work.state.id).integer(table_id).bytea(after)));
    std::vector<BytesView> keys;
    for (size_t i = 0; i < rows.size(); ++i) keys.push_back(rows.bytes(i, 0));
    if (keys.empty()) return work.commit();
    after = keys.back();
    send_records(work, *table, keys);
    REJOIN_ASSIGN(std::vector<Rows> known, db.sync());
    std::vector<StoredRow> stored(keys.size());
    REJOIN_TRY(read_records(work, *table, known[0], stored));
    RecordBatch records;
    LogBatch log;
    for (size_t i = 0; i < keys.size(); ++i) {
      crdt::RowRecord& record = stored[i].record;
      crdt::ColumnSet fresh;
      for (size_t c = first; c < table->columns.size(); ++c)
        if (record.stamp_of(static_cast<uint32_t>(c)).bottom()) fresh.add(static_cast<uint32_t>(c));
      if (!record.alive || fresh.empty()) continue;
      // Not below the row's birth, or the cell would not count.
      record.write(fresh, record.birth.bottom() ? crdt::Stamp{crdt::kBeforeTrackingHlc, Work::kOwnSite} : record.birth);
      crdt::canonicalise(record, work.sites());
      records.add(keys[i], record, stored[i].held);
      log.add(*table, Work::kOwnSite, keys[i], false, false, fresh);
    }
    records.send(work, *table);
    log.send(work);
    REJOIN_TRY(work.commit());
  }
}

Result<std::vector<std::string>> tenants_of(Connection& db, const Table& table) {
  if (!table.tenant) return std::vector<std::string>{table.owner};
  REJOIN_ASSIGN(Rows rows, db.query("SELECT DISTINCT t." + table.tenant->quoted + "::text FROM " + table.sql +
                                    " AS t WHERE t." + table.tenant->quoted + " IS NOT NULL ORDER BY 1"));
  std::vector<std::string> out;
  for (size_t i = 0; i < rows.size(); ++i) out.push_back(rows.text(i, 0));
  return out;
}

}  // namespace

Result<Tracked> track(Connection& db, const TrackRequest& request, Random& random,
                      const std::function<void(int64_t)>& progress) {
  REJOIN_TRY(installed_version(db));
  REJOIN_ASSIGN(Table wanted, describe_table(db, request.relation, request.tenant_column));
  if (!request.name.empty()) wanted.name = request.name;
  wanted.owner = request.tenant_column.empty() ? request.tenant : "";
  REJOIN_ASSIGN(Catalog catalog, load_catalog(db));
  Tracked out;
  out.name = wanted.name;
  const Table* known = nullptr;
  for (const Table& t : catalog.tables)
    if (t.sql == wanted.sql) known = &t;
  size_t first_new = 0;
  if (!known) {
    if (const Table* taken = catalog.find(wanted.name))
      return fail(Code::untrackable, "cannot track " + wanted.display + ": devices know " + taken->display + " as \"" +
                                         wanted.name + "\" already; give it another name with --as NAME");
    contract::Contract contract;
    {
      Catalog one;
      one.tables.push_back(wanted);
      contract = to_contract(one);
    }
    if (Status fit = contract::check(contract); !fit.ok())
      return fail(Code::untrackable, "cannot track " + wanted.display + ": " + fit.error().message);
    REJOIN_ASSIGN(Rows id,
                  db.query("INSERT INTO rejoin.tracked(relation, name, tenant_column, tenant) VALUES "
                           "(to_regclass($1), $2, nullif($3, ''), nullif($4, '')) RETURNING id::int8",
                           Params().text(wanted.sql).text(wanted.name).text(request.tenant_column).text(wanted.owner)));
    wanted.id = id.integer(0, 0);
    std::string sql = "BEGIN; SET LOCAL lock_timeout = '5s';";
    for (size_t c = 0; c < wanted.columns.size(); ++c)
      sql += "INSERT INTO rejoin.tracked_column(tbl, id, name) VALUES (" + std::to_string(wanted.id) + ", " +
             std::to_string(c) + ", " + quote_text(wanted.columns[c].name) + ");";
    if (Status made = db.script(sql + capture_sql(wanted) + "UPDATE rejoin.meta SET catalog = catalog + 1; COMMIT;");
        !made.ok()) {
      const SqlError error = db.last_error();
      (void)db.query("DELETE FROM rejoin.tracked WHERE id = $1::integer", Params().integer(wanted.id)).ok();
      if (error.state == "55P03")
        return fail(Code::busy, "table " + wanted.display + " is locked by others for more than 5 s; try again");
      return made.error();
    }
  } else {
    out.already = true;
    out.name = known->name;
    wanted.id = known->id;
    first_new = known->columns.size();
    if (!known->unannounced.empty()) REJOIN_TRY(announce_columns(db, *known));
    REJOIN_ASSIGN(catalog, load_catalog(db));
    known = catalog.find(wanted.id);
    if (Status made = db.script("BEGIN; SET LOCAL lock_timeout = '5s';" + capture_sql(*known) + "COMMIT;");
        !made.ok()) {
      return made.error();
    }
    wanted = *known;
  }
  REJOIN_ASSIGN(std::vector<std::string> tenants, tenants_of(db, wanted));
  for (const std::string& name : tenants) {
    Tenant tenant(name, system_clock(), random);
    REJOIN_ASSIGN(int64_t rows, record_rows(db, tenant, wanted.id, progress, out.rows));
    out.rows += rows;
    if (out.already && first_new < wanted.columns.size()) {
      REJOIN_TRY(record_columns(db, tenant, wanted.id, first_new));
      out.columns = static_cast<int64_t>(wanted.columns.size() - first_new);
    }
  }
  return out;
}

Status create_and_track(Connection& db, const contract::Table& wanted, const std::string& tenant, Random& random) {
  std::string sql = "CREATE TABLE public." + quote(wanted.name) + "(";
  for (const contract::Column& c : wanted.columns) {
    const bool key = std::find(wanted.key.begin(), wanted.key.end(), c.name) != wanted.key.end();
    std::string type = sql_type(c.type);
    if (key && type != "bigint" && type != "bytea" && type != "uuid") type = "text";
    sql += quote(c.name) + " " + type + ", ";
  }
  sql += "PRIMARY KEY(";
  for (size_t i = 0; i < wanted.key.size(); ++i) sql += (i ? ", " : "") + quote(wanted.key[i]);
  if (Status made = db.script(sql + "))"); !made.ok()) return made;
  TrackRequest request;
  request.relation = "public." + quote(wanted.name);
  request.tenant = tenant;
  REJOIN_TRY(track(db, request, random, {}));
  return {};
}

}  // namespace rejoin::postgres
