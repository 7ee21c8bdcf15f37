#include "postgres/impersonate.h"

#include <algorithm>

namespace rejoin::postgres {
namespace {

constexpr int64_t kFactsHoldMs = 10'000;  // grants are looked up again after this time

// Members of the owner's role, or of the server's, have what those have: nothing of row-level security holds for them.
std::string question(bool set_option) {
  return std::string("SELECT rolsuper OR rolbypassrls OR rolname LIKE 'pg\\_%', pg_has_role(session_user, r.oid, '") +
         (set_option ? "SET" : "MEMBER") +
         "'), pg_has_role(r.oid, session_user, 'MEMBER') OR pg_has_role(r.oid, current_user, 'MEMBER') OR EXISTS "
         "(SELECT FROM pg_namespace n WHERE n.nspname = 'rejoin' AND pg_has_role(r.oid, n.nspowner, 'MEMBER')) OR "
         "EXISTS (SELECT FROM rejoin.tracked k JOIN pg_class c ON c.oid = k.relation WHERE pg_has_role(r.oid, "
         "c.relowner, 'MEMBER')), session_user::text FROM pg_roles r WHERE rolname = $1";
}

std::optional<Error> refusal(const std::string& role, const Rows& rows) {
  const std::string named = "the token names the PostgreSQL role " + role + ", ";
  // One answer, so that nobody can ask which roles there are.
  if (rows.empty())
    return fail(Code::forbidden, named + "which does not exist; create it, or have tokens issued for another");
  if (rows.integer(0, 0) || rows.integer(0, 2))
    return fail(Code::forbidden,
                named +
                    "which stands above row-level security (a superuser, one with BYPASSRLS, a "
                    "table's owner or the server's own role); have tokens issued for an ordinary role");
  if (!rows.integer(0, 1))
    return fail(Code::forbidden, named + "which the server's role may not act as; run in PostgreSQL: GRANT " +
                                     quote(role) + " TO " + quote(rows.text(0, 3)));
  return std::nullopt;
}

Result<RoleFacts> ask(Work& work, const std::string& role) {
  Connection& db = work.db();
  const size_t first = db.queued();
  db.send(question(db.server_version() >= 160000), Params().text(role));
  db.send(
      "SELECT k.id::int8, c.relrowsecurity, has_table_privilege(r.oid, c.oid, 'SELECT') AND "
      "has_schema_privilege(r.oid, c.relnamespace, 'USAGE') FROM rejoin.tracked k JOIN pg_class c ON c.oid = "
      "k.relation "
      "CROSS JOIN pg_roles r WHERE r.rolname = $1",
      Params().text(role));
  // Merges lock and compare what is there, whoever may see it.
  db.send(
      "SELECT c.oid::regclass::text, current_user::text FROM rejoin.tracked k JOIN pg_class c ON c.oid = k.relation "
      "WHERE "
      "row_security_active(c.oid) AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive "
      "AND p.polcmd = '*' AND pg_get_expr(p.polqual, p.polrelid) = 'true' AND EXISTS (SELECT FROM unnest(p.polroles) "
      "AS "
      "r(id) WHERE CASE WHEN r.id = 0 THEN true ELSE pg_has_role(current_user, r.id, 'USAGE') END)) ORDER BY 1 LIMIT "
      "1");
  REJOIN_ASSIGN(std::vector<Rows> all, db.sync());
  RoleFacts facts;
  facts.checked_ms = work.tenant().clock.now_ms();
  facts.refused = refusal(role, all[first]);
  if (const Rows& blind = all[first + 2]; !facts.refused && !blind.empty())
    facts.refused = fail(Code::forbidden, "row-level security hides rows of " + blind.text(0, 0) +
                                              " from the server's own role " + blind.text(0, 1) +
                                              ", which has to know all of them; run in PostgreSQL: CREATE POLICY " +
                                              "rejoin ON " + blind.text(0, 0) + " TO " + quote(blind.text(0, 1)) +
                                              " USING (true) WITH CHECK (true)");
  const Rows& tables = all[first + 1];
  for (size_t i = 0; i < tables.size(); ++i) {
    if (tables.integer(i, 2)) facts.readable.insert(tables.integer(i, 0));
    if (tables.integer(i, 1)) facts.guarded.insert(tables.integer(i, 0));
  }
  return facts;
}

}  // namespace

// Grants are part of what a replica sees. With the database's secret, so that nobody can name another's view, in a
// cursor for example, or choose a site that gives it.
Result<uint64_t> Persona::view_number(Work& work, const Persona& persona, const crdt::SiteId& site) {
  constexpr size_t kMostKept = 4096;
  Bytes seen;
  put_be64(seen, persona.view_);
  seen += site.view();
  for (const std::set<int64_t>* ids : {&persona.facts_.readable, &persona.facts_.guarded}) {
    put_be64(seen, ids->size());
    for (int64_t id : *ids) put_be64(seen, static_cast<uint64_t>(id));
  }
  std::map<Bytes, uint64_t>& views = work.tenant().views;
  if (auto known = views.find(seen); known != views.end()) return known->second;
  REJOIN_ASSIGN(Rows rows, work.db().query("SELECT sha256(secret || $1) FROM rejoin.meta", Params().bytea(seen)));
  if (views.size() >= kMostKept) views.clear();
  return views[seen] = std::max<uint64_t>(1, load_be64(rows.bytes(0, 0).data()));
}

Result<Persona> Persona::of(Work& work, const Impersonation& as, const sync::Identity* who, const crdt::SiteId& site) {
  Persona out;
  out.who_ = who;
  out.view_ = who ? who->view : 0;
  if (!as.on) return out;
  const std::string role = who && !who->role.empty() ? who->role : as.default_role;
  if (role.empty())
    return fail(Code::forbidden,
                "the token names no role of PostgreSQL, and this server acts as the caller's; have tokens issued with "
                "the claim role, or start it with --impersonate-role");
  std::map<std::string, RoleFacts>& known = work.tenant().roles;
  if (known.size() > 256) known.clear();
  auto found = known.find(role);
  if (found == known.end() || found->second.refused || work.tenant().catalog_fresh ||
      found->second.checked_ms + kFactsHoldMs < work.tenant().clock.now_ms()) {
    REJOIN_ASSIGN(RoleFacts facts, ask(work, role));
    found = known.insert_or_assign(role, std::move(facts)).first;
  }
  if (found->second.refused) return *found->second.refused;
  out.role_ = role;
  out.facts_ = found->second;
  REJOIN_ASSIGN(out.view_, view_number(work, out, site));
  work.db().send("SELECT set_config('request.jwt.claims', $1, true)", Params().text(who ? who->claims : "{}"));
  return out;
}

void Persona::enter(Work& work) const {
  if (on()) work.db().send("SET LOCAL ROLE " + quote(role_));
}

void Persona::leave(Work& work) const {
  if (on()) work.db().send("RESET ROLE");
}

void Persona::enter_to_read(Work& work) const {
  work.db().send("SAVEPOINT rejoin_read");
  enter(work);
}

void Persona::leave_read(Work& work) const {
  leave(work);
  work.db().send("RELEASE SAVEPOINT rejoin_read");
}

Status Persona::leave_out(Work& work, const Table& table, const Error& error, LeftOut& out) const {
  Connection& db = work.db();
  const std::string state = db.last_error().state;
  const auto is = [&](std::string_view prefix) { return state.starts_with(prefix); };
  // Names that an expression lacks may be a catalog's that is not the newest.
  const bool name = is("42") && !work.tenant().catalog_fresh && !work.tenant().catalog_renewed;
  // Data exceptions, functions that raise, rights and names that an expression lacks.
  const bool policy = is("22") || is("P0") || is("42") || is("38") || is("39") || is("2F");
  if (!guards(table) || !policy || name || !db.usable()) return error;
  db.send("ROLLBACK TO SAVEPOINT rejoin_read");
  db.send("RELEASE SAVEPOINT rejoin_read");
  if (!db.sync().ok()) return error;
  out.insert_or_assign(
      table.id, fail(error.code, "a policy of table " + table.display +
                                     " fails for a row, so nobody can say what the role " + role_ +
                                     " may see of it, and the table was left out; mend the policy's expression (psql: "
                                     "\\d " +
                                     table.display + "). " + error.message));
  return {};
}

bool Persona::may_pull(const Table& table) const {
  return sync::right_of(who_, table.name).pull && (!on() || facts_.readable.contains(table.id));
}

}  // namespace rejoin::postgres
