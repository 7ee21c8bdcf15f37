#include "postgres/admin.h"

#include "postgres/capture.h"
#include "postgres/install.sql.h"
#include "postgres/purge.h"
#include "postgres/short_locks.h"
#include "postgres/upgrades.h"

namespace rejoin::postgres {

namespace {

// What a server's role needs, and no more.
std::string grant_sql(const std::string& role) {
  const std::string r = quote(role);
  return "GRANT USAGE ON SCHEMA rejoin TO " + r +
         "; GRANT SELECT ON rejoin.meta, rejoin.tracked, rejoin.tracked_column TO " + r +
         "; GRANT SELECT, INSERT, UPDATE ON rejoin.tenant TO " + r +
         "; GRANT SELECT, INSERT, UPDATE, DELETE ON rejoin.site, rejoin.record, rejoin.log, rejoin.outbox, "
         "rejoin.device, rejoin.stream, rejoin.staged, rejoin.contract, rejoin.view, rejoin.shown TO " +
         r + "; GRANT SELECT, INSERT ON rejoin.audit TO " + r +
         "; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA rejoin TO " + r + ";";
}

// What leads from one version to the newest, in a transaction.
std::string upgrade_sql(int64_t from) {
  std::string sql;
  for (const Upgrade& upgrade : kUpgrades)
    if (upgrade.to > from)
      sql += std::string(upgrade.sql) + "UPDATE rejoin.meta SET version = " + std::to_string(upgrade.to) + ";";
  return sql;
}

}  // namespace

Result<bool> init(Connection& db, const std::string& role) {
  REJOIN_TRY(check_encoding(db));
  REJOIN_ASSIGN(Rows there, db.query("SELECT to_regclass('rejoin.meta') IS NOT NULL"));
  bool installed = false;
  if (there.integer(0, 0) == 0) {
    REJOIN_TRY(db.script(std::string("BEGIN;") + kInstallSql + upgrade_sql(1) + "COMMIT;"));
    installed = true;
  }
  REJOIN_ASSIGN(const int64_t version, installed_version(db));
  if (version > kSchemaVersion)
    return fail(Code::unsupported, "the schema rejoin in this database has version " + std::to_string(version) +
                                       ", this build knows " + std::to_string(kSchemaVersion) +
                                       "; use the newer Rejoin");
  if (version < kSchemaVersion) {
    // Roles that may use the older one may use what is new.
    REJOIN_ASSIGN(const Rows roles,
                  db.query("SELECT DISTINCT r.rolname::text FROM pg_class c, aclexplode(c.relacl) AS a JOIN pg_roles r "
                           "ON r.oid = a.grantee WHERE c.oid = 'rejoin.record'::regclass AND a.grantee <> c.relowner"));
    std::string grants;
    for (size_t i = 0; i < roles.size(); ++i) grants += grant_sql(roles.text(i, 0));
    REJOIN_TRY(script_with_short_locks(db, upgrade_sql(version) + grants));
    installed = true;
  }
  if (!role.empty()) REJOIN_TRY(db.script("BEGIN;" + grant_sql(role) + "COMMIT;"));
  return installed;
}

Result<int64_t> installed_version(Connection& db) {
  auto rows = db.query("SELECT version::int8 FROM rejoin.meta");
  if (!rows.ok()) {
    const std::string& state = db.last_error().state;
    if (state == "42P01" || state == "3F000")
      return fail(Code::not_found, "this PostgreSQL database has no schema rejoin; run: rejoin pg init --postgres URL");
    if (state == "42501")
      return fail(Code::forbidden,
                  "this PostgreSQL role may not read the schema rejoin; grant it with: rejoin pg init "
                  "--postgres URL-OF-THE-OWNER --role ROLE");
    return rows.error();
  }
  if (rows->empty()) return fail(Code::corrupt, "rejoin.meta is empty; restore the schema rejoin from a backup");
  return rows->integer(0, 0);
}

Status check_version(Connection& db) {
  REJOIN_ASSIGN(int64_t version, installed_version(db));
  if (version >= kOldestServed && version <= kSchemaVersion) return {};
  return fail(Code::unsupported, "the schema rejoin in this PostgreSQL database has version " +
                                     std::to_string(version) + ", this build needs " + std::to_string(kSchemaVersion) +
                                     (version < kSchemaVersion ? "; run rejoin pg init" : "; use the newer Rejoin"));
}

Status check_encoding(Connection& db) {
  REJOIN_ASSIGN(const Rows rows,
                db.query("SELECT current_setting('server_encoding'), quote_ident(current_database())"));
  if (rows.text(0, 0) == "UTF8") return {};
  return fail(Code::unsupported,
              "the PostgreSQL database " + rows.text(0, 1) + " is encoded in " + rows.text(0, 0) +
                  ", which lacks characters that devices write; Rejoin needs UTF8: make another database with CREATE "
                  "DATABASE … ENCODING 'UTF8' TEMPLATE template0, and move yours there with pg_dump and pg_restore");
}

Status check_writable(Connection& db) {
  REJOIN_ASSIGN(Rows rows, db.query("SELECT current_setting('transaction_read_only')"));
  if (rows.text(0, 0) == "off") return {};
  return fail(Code::read_only,
              "this PostgreSQL database is read-only: a standby, or default_transaction_read_only is on");
}

Result<bool> bypasses_row_security(Connection& db) {
  REJOIN_ASSIGN(Rows role, db.query("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"));
  return !role.empty() && role.integer(0, 0) != 0;
}

std::string forget_sql(int64_t table) {
  const std::string id = std::to_string(table);
  std::string sql = "SET LOCAL rejoin.all_tenants = 'on';";
  for (const char* of : {"outbox", "record"})
    sql += "DELETE FROM rejoin." + std::string(of) + " WHERE tbl = " + id + ";";
  // Not in version 1 of the schema.
  sql += "DO $$ BEGIN IF to_regclass('rejoin.shown') IS NOT NULL THEN DELETE FROM rejoin.shown WHERE tbl = " + id +
         "; END IF; END $$;";
  // Positions stay: cursors of devices stand on them.
  return sql + "UPDATE rejoin.log SET tbl = 0, entries = '\\x00' WHERE tbl = " + id +
         ";DELETE FROM rejoin.tracked WHERE id = " + id + ";UPDATE rejoin.meta SET catalog = catalog + 1;";
}

Status untrack(Connection& db, const std::string& name) {
  REJOIN_TRY(installed_version(db));
  // One that was dropped is in no catalog.
  REJOIN_ASSIGN(Rows gone,
                db.query("SELECT k.id::int8 FROM rejoin.tracked k WHERE k.name = $1 AND NOT EXISTS (SELECT FROM "
                         "pg_class c WHERE c.oid = k.relation)",
                         Params().text(name)));
  if (!gone.empty()) return db.script("BEGIN;" + forget_sql(gone.integer(0, 0)) + "COMMIT;");
  REJOIN_ASSIGN(Catalog catalog, load_catalog(db));
  const Table* table = catalog.find(name);
  for (const Table& t : catalog.tables)
    if (!table && (t.display == name || t.sql == name)) table = &t;
  if (!table) return fail(Code::not_tracked, "there is no synced table " + name + " in this database");
  return script_with_short_locks(db, drop_capture_sql(*table) + forget_sql(table->id));
}

Result<StoreStatus> status(Connection& db) {
  StoreStatus out;
  REJOIN_ASSIGN(out.version, installed_version(db));
  REJOIN_ASSIGN(Catalog catalog, load_catalog(db));
  db.send("BEGIN READ ONLY");
  db.send("SELECT set_config('rejoin.all_tenants', 'on', true)");
  db.send(
      "SELECT tbl::int8, count(*), count(*) FILTER (WHERE get_byte(rec, 0) & 1 = 1), count(*) FILTER (WHERE "
      "get_byte(rec, "
      "0) & 2 = 0) FROM rejoin.record GROUP BY tbl");
  db.send(
      "SELECT (SELECT count(*) FROM rejoin.tenant), (SELECT count(*) FROM rejoin.device), (SELECT count(*) FROM "
      "rejoin.outbox), (SELECT count(*) FROM rejoin.log), (SELECT (to_jsonb(m) ->> 'keep_days')::int8 FROM rejoin.meta "
      "AS m), (SELECT coalesce(max((to_jsonb(t) ->> 'horizon')::int8), 0) FROM rejoin.tenant AS t)");
  db.send("COMMIT");
  REJOIN_ASSIGN(std::vector<Rows> all, db.sync());
  for (const Table& t : catalog.tables) {
    TableStatus s;
    s.name = t.name;
    s.relation = t.display;
    if (t.tenant) s.tenant_column = t.tenant->name;
    s.unannounced = t.unannounced;
    for (size_t i = 0; i < all[2].size(); ++i)
      if (all[2].integer(i, 0) == t.id)
        s.records = all[2].integer(i, 1), s.alive = all[2].integer(i, 2), s.unborn = all[2].integer(i, 3);
    out.tables.push_back(std::move(s));
  }
  out.tenants = all[3].integer(0, 0);
  out.devices = all[3].integer(0, 1);
  out.outbox = all[3].integer(0, 2);
  out.log_rows = all[3].integer(0, 3);
  out.keep_days = all[3].is_null(0, 4) ? kKeepDays : all[3].integer(0, 4);
  out.horizon_ms = crdt::ms_of_hlc(static_cast<crdt::Hlc>(all[3].integer(0, 5)));
  return out;
}

}  // namespace rejoin::postgres
