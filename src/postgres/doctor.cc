#include "postgres/admin.h"
#include "postgres/upgrades.h"

namespace rejoin::postgres {
namespace {

// Writes of plain SQL that are not folded.
Result<int64_t> captured(Connection& db, const Table& table) {
  db.send("BEGIN READ ONLY");
  db.send("SELECT set_config('rejoin.all_tenants', 'on', true)");
  db.send("SELECT count(*) FROM rejoin.outbox WHERE tbl = $1::integer", Params().integer(table.id));
  db.send("COMMIT");
  REJOIN_ASSIGN(const std::vector<Rows> all, db.sync());
  return all[2].integer(0, 0);
}

}  // namespace

Result<std::vector<std::string>> doctor(Connection& db) {
  std::vector<std::string> out;
  REJOIN_ASSIGN(int64_t version, installed_version(db));
  if (version != kSchemaVersion)
    out.push_back("the schema rejoin has version " + std::to_string(version) + ", this build knows " +
                  std::to_string(kSchemaVersion) + "; run rejoin pg init");
  REJOIN_ASSIGN(Catalog catalog, load_catalog(db));
  // The owner may be anybody; the roles that it let in are what servers run as.
  REJOIN_ASSIGN(
      Rows runtime,
      db.query("SELECT DISTINCT r.rolname::text FROM pg_class c, aclexplode(c.relacl) AS a JOIN pg_roles r ON "
               "r.oid = a.grantee WHERE c.oid = 'rejoin.record'::regclass AND a.grantee <> c.relowner AND "
               "(r.rolsuper OR r.rolbypassrls)"));
  for (size_t i = 0; i < runtime.size(); ++i)
    out.push_back("role " + runtime.text(i, 0) +
                  " is a superuser or bypasses row-level security, so it would see all tenants at once; let the server "
                  "use a role that may only read and write: rejoin pg init --role ROLE");
  REJOIN_ASSIGN(Rows role, db.query("SELECT current_user::text"));
  if (role.text(0, 0) == "rejoin")
    out.push_back(
        "the role is called rejoin like the schema, so tables that it makes without naming a schema land there; "
        "use another role");
  REJOIN_ASSIGN(Rows gone,
                db.query("SELECT k.name FROM rejoin.tracked k LEFT JOIN pg_class c ON c.oid = k.relation WHERE "
                         "c.oid IS NULL"));
  for (size_t i = 0; i < gone.size(); ++i)
    out.push_back("the synced table \"" + gone.text(i, 0) + "\" was dropped; its metadata can go: rejoin pg untrack " +
                  in_shell(gone.text(i, 0)));
  for (const Table& t : catalog.tables) {
    if (!t.served()) {
      REJOIN_ASSIGN(const int64_t waiting, captured(db, t));
      out.push_back(why_unserved(t) +
                    (waiting ? "; " + std::to_string(waiting) + " captured writes wait until it is served" : ""));
      continue;
    }
    for (const std::string& name : t.unannounced)
      out.push_back("column " + name + " of " + t.display + " is not synced yet; run rejoin pg track " +
                    command_name(t));
    for (const std::string& name : t.uncaptured)
      out.push_back("column " + name + " of " + t.display +
                    " is synced, but plain SQL's writes of it go unseen; run rejoin pg track " + command_name(t) +
                    ", and write anew what was written meanwhile");
    if (t.truncates_unseen)
      out.push_back(t.display + " was renamed, and its capture, an earlier build's, fails when it is truncated; run " +
                    "rejoin pg track " + command_name(t));
    REJOIN_ASSIGN(Rows triggers,
                  db.query("SELECT count(*) FILTER (WHERE tgenabled <> 'D'), count(*) FROM pg_trigger WHERE tgrelid = "
                           "to_regclass($1) AND tgname LIKE 'rejoin\\_capture\\_%'",
                           Params().text(t.sql)));
    if (triggers.integer(0, 0) != 4)
      out.push_back(t.display +
                    " lacks capture triggers, or they are disabled, so writes go unseen; run rejoin pg track " +
                    command_name(t));
    db.send("BEGIN READ ONLY");
    db.send("SELECT set_config('rejoin.all_tenants', 'on', true)");
    db.send("SELECT (SELECT count(*) FROM " + t.sql +
                "), (SELECT count(*) FROM rejoin.record WHERE tbl = $1::integer AND "
                "get_byte(rec, 0) & 1 = 1), (SELECT count(*) FROM rejoin.outbox WHERE tbl = $1::integer)",
            Params().integer(t.id));
    db.send("COMMIT");
    REJOIN_ASSIGN(std::vector<Rows> all, db.sync());
    const int64_t rows = all[2].integer(0, 0), alive = all[2].integer(0, 1), waiting = all[2].integer(0, 2);
    if (rows != alive && waiting == 0)
      out.push_back(t.display + " has " + std::to_string(rows) + " rows, but records know of " + std::to_string(alive) +
                    "; rows were written while capture was off. Run rejoin pg track " + command_name(t));
  }
  return out;
}

}  // namespace rejoin::postgres
