#include "postgres/work.h"

#include <algorithm>

namespace rejoin::postgres {
namespace {

// Where nothing bounds the wait for locks.
constexpr int64_t kAsideWaitsMs = 2'000;
// What has taken so long may have much left to write, which is not to be taken for a COMMIT that is not answered.
constexpr std::chrono::milliseconds kLong{500};

// Everything is local to the transaction, so that a pooler may give the connection to others afterwards. The settings
// fix how values look as text (types.h). The search path stays as it is: the application's triggers count on theirs.
std::string begin_settings(Work::Mode mode, bool bounds_locks) {
  const bool merging = mode != Work::Mode::look;
  return std::string("SELECT set_config('rejoin.tenant', $1, true), set_config('rejoin.merging', '") +
         (merging ? "on" : "") +
         "', true), set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, YMD', true), "
         "set_config('extra_float_digits', '1', true), set_config('IntervalStyle', 'postgres', true), "
         "set_config('bytea_output', 'hex', true), set_config('standard_conforming_strings', 'on', true), "
         // Batches of keys are looked up one by one: a plan that was made when a table was small, or never analysed,
         // would go on reading all of it. So would a page of records by a bitmap: all that are left, to be sorted.
         "set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), "
         "set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('jit', "
         "'off', true)" +
         // A wait for a standby that was cancelled is told as a warning.
         (merging ? ", set_config('client_min_messages', 'warning', true)" : "") +
         (mode == Work::Mode::merge
              ? ", set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') IN ('off', "
                "'local') THEN 'on' ELSE current_setting('synchronous_commit') END, true)"
              : "") +
         (mode == Work::Mode::aside ? ", set_config('synchronous_commit', 'local', true)" : "") +
         (bounds_locks ? ", set_config('lock_timeout', $2, true)" : "");
}

// Sends what is queued, and a COMMIT.
Result<std::vector<Rows>> commit_now(Connection& db, Tenant& tenant) {
  db.send_commit();
  if (tenant.commit_ms <= 0) return db.sync();
  const auto by = std::chrono::steady_clock::now() + std::chrono::milliseconds(tenant.commit_ms);
  db.set_deadline(tenant.deadline ? std::min(*tenant.deadline, by) : by);
  auto all = db.sync();
  db.set_deadline(tenant.deadline);
  tenant.stalled |= !all.ok() && all.error().code == Code::timeout;
  return all;
}

// Are these tables otherwise than they were? Of one that is not served no statement finds out.
Result<bool> any_changed(Connection& db, const std::vector<Table>& tables) {
  const size_t first = db.queued();
  for (const Table& t : tables) db.send("SELECT " + shape_of("$1::oid"), Params().integer(t.oid));
  REJOIN_ASSIGN(const std::vector<Rows> shapes, db.sync());
  for (size_t i = 0; i < tables.size(); ++i)
    if (shapes[first + i].text(0, 0) != tables[i].shape) return true;
  return false;
}

}  // namespace

Result<Work> Work::begin(Connection& db, Tenant& tenant, Mode mode, const std::function<void()>& along) {
  const bool merging = mode != Mode::look;
  static const std::string kMergeSettings = begin_settings(Mode::merge, false),
                           kTurnSettings = begin_settings(Mode::merge, true),
                           kLookSettings = begin_settings(Mode::look, false),
                           kAsideSettings = begin_settings(Mode::aside, true);
  const bool in_turn = mode == Mode::merge && tenant.turn_ms > 0;
  Work work(db, tenant);
  for (bool made = false;;) {
    db.send(merging ? "BEGIN ISOLATION LEVEL READ COMMITTED" : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    Params settings;
    settings.text(tenant.name);
    if (mode == Mode::aside)
      settings.text(std::to_string(tenant.lock_timeout_ms > 0 ? tenant.lock_timeout_ms : kAsideWaitsMs));
    if (in_turn) settings.text(std::to_string(tenant.turn_ms));
    db.send(in_turn               ? kTurnSettings
            : mode == Mode::merge ? kMergeSettings
            : mode == Mode::aside ? kAsideSettings
                                  : kLookSettings,
            std::move(settings));
    db.send(
        "SELECT set_config('rejoin.tenant_id', coalesce((SELECT id::text FROM rejoin.tenant WHERE name = $1), ''), "
        "true)",
        Params().text(tenant.name));
    db.send(
        // An older schema lacks the three before the last.
        std::string("SELECT id::int8, last, tail, floor, (SELECT catalog FROM rejoin.meta), coalesce((to_jsonb(t) ->> "
                    "'horizon')::int8, 0), coalesce((to_jsonb(t) ->> 'purged')::int8, 0), (to_jsonb(t) ->> "
                    "'looked')::int8, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 FROM "
                    "rejoin.tenant AS t WHERE name = $1") +
            (merging ? " FOR NO KEY UPDATE" : ""),
        Params().text(tenant.name));
    // From the last one that is known on: if it is another, or was written by another transaction, this is not the
    // database that it was. It may be there once more behind others than it was. Transactions have their numbers once
    // more in files that were restored, which takes a start (but for a machine that is put back with its memory).
    const size_t known_sites = std::min(tenant.sites_read, tenant.sites.size());
    db.send("SELECT site, xmin::text::int8 FROM rejoin.site WHERE tenant = rejoin.tenant_id() AND id >= $1 ORDER BY id",
            Params().integer(static_cast<int64_t>(known_sites == 0 ? 0 : known_sites - 1)));
    db.send("SELECT EXISTS (SELECT FROM rejoin.outbox WHERE tenant = ANY($1))", Params().array([&] {
      Array names = Array::texts();
      names.add(BytesView(tenant.name));
      return names;
    }()));
    // Behind the wait for the tenant, which may be longer: there its pushes queue up.
    if (tenant.lock_timeout_ms > 0)
      db.send("SELECT set_config('lock_timeout', $1, true)", Params().text(std::to_string(tenant.lock_timeout_ms)));
    else if (in_turn)
      db.send("SET LOCAL lock_timeout TO DEFAULT");
    if (tenant.statement_timeout_ms > 0)
      db.send("SELECT set_config('statement_timeout', $1, true)",
              Params().text(std::to_string(tenant.statement_timeout_ms)));
    const size_t along_at = db.queued();
    if (along) along();
    auto all = db.sync();
    if (!all.ok()) {
      if (db.last_error().state == "3F000" || db.last_error().state == "42P01")
        return fail(Code::not_found,
                    "this PostgreSQL database has no schema rejoin; run: rejoin pg init --postgres URL");
      tenant.stalled |= in_turn && db.last_error().state == "55P03";
      return all.error();
    }
    const Rows& state = (*all)[3];
    if (state.empty()) {
      tenant.sites = {};
      if (!merging) return work;
      if (std::exchange(made, true)) return fail(Code::internal, "tenant " + tenant.name + " cannot be made");
      db.send("INSERT INTO rejoin.tenant(name) VALUES ($1) ON CONFLICT DO NOTHING", Params().text(tenant.name));
      db.send("SELECT set_config('rejoin.tenant_id', (SELECT id::text FROM rejoin.tenant WHERE name = $1), true)",
              Params().text(tenant.name));
      db.send("INSERT INTO rejoin.site(tenant, id, site) VALUES (rejoin.tenant_id(), 0, $1) ON CONFLICT DO NOTHING",
              Params().bytea(tenant.random.bytes(16)));
      // It may wait for another that makes the same tenant, and whose COMMIT is not answered: no COMMIT of its own goes
      // with it, so that it can be cancelled.
      if (auto met = db.sync(); !met.ok()) {
        tenant.stalled |= in_turn && db.last_error().state == "55P03";
        return met.error();
      }
      REJOIN_TRY(commit_now(db, tenant));
      continue;
    }
    work.state.id = state.integer(0, 0);
    work.state.last = static_cast<crdt::Hlc>(state.integer(0, 1));
    work.state.tail = state.integer(0, 2);
    work.state.floor = state.integer(0, 3);
    work.state.horizon = static_cast<crdt::Hlc>(state.integer(0, 5));
    work.state.purged = state.integer(0, 6);
    if (!state.is_null(0, 7)) work.state.looked_ms = state.integer(0, 7);
    work.saved_ = work.state;
    const Rows& sites = (*all)[4];
    // Those that were made here since are behind it.
    const size_t first = known_sites == 0 ? 0 : known_sites - 1;
    const int64_t started_us = state.integer(0, 8);
    bool another = first + sites.size() < tenant.sites.size() ||
                   (known_sites > 0 &&
                    (sites.empty() || sites.integer(0, 1) != tenant.sites_by || started_us != tenant.sites_started_us));
    for (size_t i = 0; i < sites.size() && first + i < tenant.sites.size(); ++i)
      another |= sites.bytes(i, 0) != tenant.sites[static_cast<uint32_t>(first + i)].view();
    if (another) {
      // A backup that was restored, or a standby that had not heard of everything, behind a pooler that kept the
      // connection: what was known of it is asked again.
      tenant.sites = {};
      tenant.catalog_stale = true;
      db.send("ROLLBACK");
      REJOIN_TRY(db.sync());
      continue;
    }
    for (size_t i = 0; i < sites.size(); ++i) {
      if (sites.bytes(i, 0).size() != 16) return fail(Code::corrupt, "a site in rejoin.site is damaged");
      tenant.sites.intern(crdt::SiteId::from(sites.bytes(i, 0)));
      tenant.sites_by = sites.integer(i, 1);
    }
    tenant.sites_read = tenant.sites.size();
    tenant.sites_started_us = started_us;
    work.outbox_waits = (*all)[5].integer(0, 0) != 0;
    for (size_t i = along_at; i < all->size(); ++i) work.along.push_back(std::move((*all)[i]));
    if (tenant.catalog && !tenant.catalog->unserved.empty() && !tenant.catalog_stale) {
      REJOIN_ASSIGN(tenant.catalog_stale, any_changed(db, tenant.catalog->unserved));
    }
    tenant.catalog_fresh = !tenant.catalog || tenant.catalog_stale || tenant.catalog->version != state.integer(0, 4);
    if (tenant.catalog_fresh) {
      REJOIN_ASSIGN(Catalog catalog, load_catalog(db, tenant.name));
      tenant.catalog = std::make_shared<const Catalog>(std::move(catalog));
      tenant.catalog_stale = false;
    }
    if (const std::string but = tenant.catalog->but_unserved(); work.outbox_waits && !but.empty()) {
      REJOIN_ASSIGN(const Rows others,
                    db.query("SELECT EXISTS (SELECT FROM rejoin.outbox WHERE tenant = $1" + but + ")",
                             Params().text(tenant.name)));
      work.outbox_waits = others.integer(0, 0) != 0;
    }
    return work;
  }
}

Work::~Work() {
  if (!open_) return;
  // Sites that were interned in this transaction are gone with it.
  tenant_->sites = {};
  db_->drop_queue();
  // Behind a statement that was under way and fails, the first one is passed over.
  for (int i = 0; i < 2 && db_->in_transaction(); ++i) {
    db_->send("ROLLBACK");
    (void)db_->sync().ok();
  }
}

Status Work::commit() {
  if (state.last != saved_.last || state.tail != saved_.tail || state.floor != saved_.floor)
    db_->send("UPDATE rejoin.tenant SET last = $1, tail = $2, floor = $3 WHERE id = rejoin.tenant_id()",
              Params().integer(static_cast<int64_t>(state.last)).integer(state.tail).integer(state.floor));
  if (tenant_->commit_ms > 0 && std::chrono::steady_clock::now() - began_ > kLong) REJOIN_TRY(db_->sync());
  REJOIN_ASSIGN(std::vector<Rows> all, commit_now(*db_, *tenant_));
  // A COMMIT of a failed transaction is a ROLLBACK and no error.
  if (all.back().command() != "COMMIT")
    return fail(Code::internal, "the transaction had failed before it was committed, so nothing was kept; try again");
  open_ = false;
  tenant_->grown |= state.tail != saved_.tail;
  return {};
}

uint32_t Work::intern(const crdt::SiteId& id) {
  const size_t before = tenant_->sites.size();
  const uint32_t index = tenant_->sites.intern(id);
  if (tenant_->sites.size() != before)
    db_->send("INSERT INTO rejoin.site(tenant, id, site) VALUES (rejoin.tenant_id(), $1::integer, $2)",
              Params().integer(index).bytea(id.view()));
  return index;
}

}  // namespace rejoin::postgres
