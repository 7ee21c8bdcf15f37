#include "server/postgres_tenants.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <utility>

#include "postgres/admin.h"
#include "postgres/audit.h"
#include "server/audited_store.h"
#include "server/discreet_store.h"
#include "server/push_group.h"
#include "server/tenant_files.h"
#include "server/timed_store.h"

namespace rejoin::server {
namespace {

// Tenants that nobody asks for are forgotten when there are more; what is known of them is read again.
constexpr size_t kMostEntries = 4096;
// How often those who wait for a connection look whether one that is in doubt was answered.
constexpr auto kLookAgain = std::chrono::milliseconds(100);
// What waits for a tenant that others have, or for a COMMIT that is not answered, keeps threads and its tenant's lane
// from those that read: a push waits so long for either, or, while that was not enough before, less for the tenant.
constexpr auto kWaits = std::chrono::seconds(5);
constexpr auto kProbes = std::chrono::seconds(1);

}  // namespace

// What is known of a tenant, for one request at a time.
struct PostgresTenants::Known {
  Known(const std::string& name, Clock& clock, Random& random) : tenant(name, clock, random) {}
  postgres::Tenant tenant;
  uint64_t opened = 0;  // Pool::opened when `tenant` was read
};

// As in postgres::Tenant.
struct PostgresTenants::Patience {
  std::chrono::milliseconds turn = kWaits, commit{0};
  bool stalled = false;
};

struct PostgresTenants::Entry {
  PushGroup group;
  // Guarded by PostgresTenants::mutex_.
  std::vector<std::unique_ptr<Known>> idle;
  std::shared_ptr<const postgres::Catalog> catalog;  // the last one that was read, with this many connections opened
  uint64_t catalog_opened = 0;
  size_t at_work = 0;
  int users = 0;  // those that wait included
  std::condition_variable freed;
};

struct PostgresTenants::Pool {
  std::string url;
  // Guarded by PostgresTenants::mutex_.
  std::vector<std::unique_ptr<postgres::Connection>> idle;
  // Nobody uses them, but PostgreSQL goes on: until it answers they count among those that are out, so that retries
  // don't make it more and more backends that wait.
  std::vector<std::unique_ptr<postgres::Connection>> in_doubt;
  size_t out = 0;
  size_t pushing = 0;                // of these, without those in doubt
  uint64_t used = 0;                 // when one was given back, in order
  std::atomic<uint64_t> opened = 0;  // connections so far
  std::atomic<bool> sound = false;   // its database is one that this build can serve
  std::condition_variable freed;
};

// What a connection waited for PostgreSQL since then.
class PostgresTenants::Waiting {
 public:
  Waiting(const PostgresTenants& tenants, DatabaseWork kind, const postgres::Connection& connection)
      : tenants_(tenants),
        kind_(kind),
        connection_(connection),
        waited_(connection.waited()),
        round_trips_(connection.round_trips()) {}
  void tell() const {
    if (tenants_.waited)
      tenants_.waited(kind_, connection_.waited() - waited_, connection_.round_trips() - round_trips_);
  }

 private:
  const PostgresTenants& tenants_;
  const DatabaseWork kind_;
  const postgres::Connection& connection_;
  const std::chrono::steady_clock::duration waited_;
  const uint64_t round_trips_;
};

PostgresTenants::PostgresTenants(const PostgresSettings& settings, bool auto_schema, Log& log, Clock& clock,
                                 Random& random)
    : settings_(settings), auto_schema_(auto_schema), log_(log), clock_(clock), random_(random) {}

PostgresTenants::~PostgresTenants() = default;

Result<std::unique_ptr<Tenants>> PostgresTenants::start(const PostgresSettings& settings, bool auto_schema, Log& log,
                                                        Clock& clock, Random& random) {
  std::unique_ptr<PostgresTenants> out(new PostgresTenants(settings, auto_schema, log, clock, random));
  if (!out->database_per_tenant()) {
    const std::shared_ptr<Pool> pool = out->pool_of(settings.url);
    auto connection = out->take(*pool, std::chrono::steady_clock::now() + std::chrono::seconds(30));
    if (connection.ok())
      out->give_back(*pool, std::move(*connection));
    else if (code_retryable(connection.error().code))
      (void)out->report("", connection.error());
    else
      return connection.error();
  }
  return std::unique_ptr<Tenants>(std::move(out));
}

bool PostgresTenants::database_per_tenant() const { return names_tenant_database(settings_.url); }

std::shared_ptr<PostgresTenants::Pool> PostgresTenants::pool_of(const std::string& url) {
  std::shared_ptr<Pool>& pool = pools_[url];
  if (!pool) {
    pool = std::make_shared<Pool>();
    pool->url = url;
  }
  return pool;
}

// At a database's first connection: is it one that this build can serve?
Status PostgresTenants::look_at(postgres::Connection& connection) {
  REJOIN_TRY(postgres::check_version(connection));
  REJOIN_TRY(postgres::check_encoding(connection));
  if (settings_.impersonate) {
    REJOIN_ASSIGN(const int64_t version, postgres::installed_version(connection));
    if (version < 2)
      return fail(Code::not_found,
                  "the schema rejoin in this PostgreSQL database is too old for --impersonate; run: rejoin pg init");
  }
  if (settings_.audit) {
    REJOIN_ASSIGN(const bool there, postgres::has_audit(connection));
    if (!there)
      return fail(Code::not_found,
                  "the schema rejoin in this PostgreSQL database has no audit log; run: rejoin pg init");
  }
  REJOIN_ASSIGN(const bool super, postgres::bypasses_row_security(connection));
  if (super)
    log_.write(LogLevel::warning, "superuser",
               {{"cure", "let the server use a role that may only read and write: rejoin pg init --role ROLE"}});
  return {};
}

Result<std::unique_ptr<postgres::Connection>> PostgresTenants::take(Pool& pool,
                                                                    std::chrono::steady_clock::time_point deadline,
                                                                    For what) {
  Connections closing;  // outside of the lock
  std::unique_lock lock(mutex_);
  const bool pushes = what == For::pushing;
  const auto began = std::chrono::steady_clock::now();
  const auto none_left = [&] {
    return pool.out >= settings_.connections || (pushes && pool.pushing + pool.in_doubt.size() >= most_pushing());
  };
  for (let_go(pool, closing); none_left(); let_go(pool, closing)) {
    const auto now = std::chrono::steady_clock::now();
    if (pushes && !pool.in_doubt.empty()) deadline = std::min(deadline, began + kProbes);
    if (now >= deadline)
      return fail(Code::overloaded,
                  "all " +
                      (pool.out >= settings_.connections
                           ? std::to_string(settings_.connections) + " connections"
                           : std::to_string(most_pushing()) + " connections that pushes may have") +
                      " to PostgreSQL are in use" +
                      (pool.in_doubt.empty() ? ""
                                             : ", " + std::to_string(pool.in_doubt.size()) +
                                                   " of them by a COMMIT, or a statement that cannot be cancelled, "
                                                   "that it does not answer (a synchronous standby that is away, a "
                                                   "host that is gone?)") +
                      "; try again, or raise --postgres-connections");
    pool.freed.wait_until(lock, pool.in_doubt.empty() ? deadline : std::min(deadline, now + kLookAgain));
  }
  ++pool.out;
  pool.pushing += pushes;
  while (!pool.idle.empty()) {
    std::unique_ptr<postgres::Connection> connection = std::move(pool.idle.back());
    pool.idle.pop_back();
    if (connection->alive()) return connection;
  }
  lock.unlock();
  const auto asked = std::chrono::steady_clock::now();
  Result<std::unique_ptr<postgres::Connection>> made = postgres::Connection::open(pool.url);
  if (waited) waited(DatabaseWork::connect, std::chrono::steady_clock::now() - asked, 0);
  Status looked;
  if (made.ok()) (*made)->set_prepare(settings_.prepare);
  if (made.ok() && !pool.sound) looked = look_at(**made);
  ++pool.opened;
  if (made.ok() && looked.ok()) {
    pool.sound = true;
    return made;
  }
  lock.lock();
  --pool.out;
  pool.pushing -= pushes;
  pool.freed.notify_all();
  return made.ok() ? looked.error() : made.error();
}

void PostgresTenants::give_back(Pool& pool, std::unique_ptr<postgres::Connection> connection, For what) {
  connection->set_deadline(std::nullopt);
  const bool usable = connection->usable() && !connection->in_transaction();
  Connections closing;  // outside of the lock
  std::lock_guard lock(mutex_);
  pool.pushing -= what == For::pushing;
  if (connection->in_doubt()) {
    pool.in_doubt.push_back(std::move(connection));
    pool.freed.notify_all();
    return;
  }
  --pool.out;
  pool.used = ++uses_;
  pool.idle.push_back(std::move(connection));
  // If the server went away, the others are dead too; those in doubt may not be, and PostgreSQL goes on with them.
  if (!usable) closing = std::exchange(pool.idle, {});
  if (database_per_tenant()) close_oldest(closing);
  pool.freed.notify_all();
}

void PostgresTenants::let_go(Pool& pool, Connections& closing) {
  const auto answered = std::stable_partition(pool.in_doubt.begin(), pool.in_doubt.end(),
                                              [](const auto& connection) { return !connection->answered(); });
  pool.out -= static_cast<size_t>(pool.in_doubt.end() - answered);
  std::move(answered, pool.in_doubt.end(), std::back_inserter(closing));
  pool.in_doubt.erase(answered, pool.in_doubt.end());
}

// All databases together keep no more idle connections than one may have: a PostgreSQL server has a hundred by default,
// for all its databases. The mutex is held.
void PostgresTenants::close_oldest(Connections& closing) {
  for (auto& [url, pool] : pools_) let_go(*pool, closing);
  std::erase_if(
      pools_, [](const auto& p) { return p.second->idle.empty() && p.second->out == 0 && p.second.use_count() == 1; });
  for (;;) {
    size_t idle = 0;
    Pool* oldest = nullptr;
    for (auto& [url, pool] : pools_) {
      idle += pool->idle.size();
      if (!pool->idle.empty() && (!oldest || pool->used < oldest->used)) oldest = pool.get();
    }
    if (idle <= settings_.connections) return;
    closing.push_back(std::move(oldest->idle.front()));
    oldest->idle.erase(oldest->idle.begin());
  }
}

Error PostgresTenants::report(const std::string& tenant, const Error& error) {
  log_.write(code_retryable(error.code) ? LogLevel::warning : LogLevel::error, "postgres",
             {{"tenant", tenant}, {"error", std::string(code_name(error.code))}, {"message", error.message}});
  return for_devices(error);
}

// Takes what a request of a tenant needs for each call, so that pushes can be written together and pulls beside them.
class PostgresTenants::Gate final : public sync::TenantStore, public sync::AuditSink {
 public:
  Gate(PostgresTenants& tenants, const std::string& name, Entry& entry, Pool& pool, PushGroup::Instant deadline)
      : tenants_(tenants), name_(name), entry_(entry), pool_(pool), deadline_(deadline) {}

  Result<sync::PushReply> push(const sync::PushRequest& request) override {
    return entry_.group.push(
        request, deadline_,
        [&](const std::vector<const sync::PushRequest*>& requests, PushGroup::Instant deadline, bool probing) {
          PushGroup::Written written;
          // The one that probes has the time for its COMMIT: a standby may be slow.
          Patience patience;
          if (probing)
            patience.turn = kProbes;
          else
            patience.commit = kWaits;
          const Status used = tenants_.lease(
              DatabaseWork::push, name_, entry_, pool_, deadline, patience, [&](postgres::TenantStore& store) {
                const auto began = std::chrono::steady_clock::now();
                written.replies = store.push_together(requests);
                if (tenants_.worked) tenants_.worked(StoreWork::merge, std::chrono::steady_clock::now() - began);
              });
          if (!used.ok()) written.replies.assign(requests.size(), used.error());
          written.stalled = patience.stalled || (!used.ok() && used.error().code == Code::overloaded);
          return written;
        });
  }
  Result<sync::PullReply> pull(const sync::PullRequest& request) override {
    return call<sync::PullReply>(DatabaseWork::pull, [&](postgres::TenantStore& store) { return store.pull(request); });
  }
  Result<sync::Restored> restored(const std::string& device, const crdt::SiteId& site, BytesView token,
                                  BytesView cursor) override {
    return call<sync::Restored>(
        DatabaseWork::pull, [&](postgres::TenantStore& store) { return store.restored(device, site, token, cursor); });
  }
  Result<std::string> contract_fingerprint() override {
    return call<std::string>(DatabaseWork::contract,
                             [&](postgres::TenantStore& store) { return store.contract_fingerprint(); });
  }
  Result<std::string> contract_json() override {
    return call<std::string>(DatabaseWork::contract,
                             [&](postgres::TenantStore& store) { return store.contract_json(); });
  }
  Result<bool> knows_contract(const std::string& fingerprint, bool may_create) override {
    return call<bool>(DatabaseWork::contract,
                      [&](postgres::TenantStore& store) { return store.knows_contract(fingerprint, may_create); });
  }
  Status adopt_contract(const std::string& json, bool may_create) override {
    Status adopted;
    Patience patience;
    REJOIN_TRY(tenants_.lease(DatabaseWork::contract, name_, entry_, pool_, deadline_, patience,
                              [&](postgres::TenantStore& store) { adopted = store.adopt_contract(json, may_create); }));
    return adopted;
  }
  Result<std::string> published_contract() override {
    return call<std::string>(DatabaseWork::contract,
                             [&](postgres::TenantStore& store) { return store.published_contract(); });
  }
  Status publish_contract(const std::string& json) override {
    Status published;
    Patience patience;
    REJOIN_TRY(tenants_.lease(DatabaseWork::contract, name_, entry_, pool_, deadline_, patience,
                              [&](postgres::TenantStore& store) { published = store.publish_contract(json); }));
    return published;
  }

  Status write(const std::string& tenant, const std::vector<sync::AuditEntry>& entries) override {
    REJOIN_ASSIGN(std::unique_ptr<postgres::Connection> connection, tenants_.take(pool_, deadline_, For::pushing));
    connection->set_deadline(deadline_);
    const Waiting waiting(tenants_, DatabaseWork::audit, *connection);
    const Status written = postgres::AuditTable(*connection).write(tenant, entries);
    waiting.tell();
    tenants_.give_back(pool_, std::move(connection), For::pushing);
    return written;
  }

 private:
  template <class T, class F>
  Result<T> call(DatabaseWork kind, F&& f) {
    std::optional<Result<T>> out;
    Patience patience;
    REJOIN_TRY(tenants_.lease(kind, name_, entry_, pool_, deadline_, patience,
                              [&](postgres::TenantStore& store) { out = f(store); }));
    return std::move(*out);
  }

  PostgresTenants& tenants_;
  const std::string& name_;
  Entry& entry_;
  Pool& pool_;
  const PushGroup::Instant deadline_;
};

// One tenant leaves connections to the others.
size_t PostgresTenants::most_at_work() const { return std::max<size_t>(1, settings_.connections / 2); }
// Pushes leave some to those that read: they may all wait for a synchronous standby.
size_t PostgresTenants::most_pushing() const { return settings_.connections - settings_.connections / 4; }

Status PostgresTenants::lease(DatabaseWork kind, const std::string& name, Entry& entry, Pool& pool,
                              std::chrono::steady_clock::time_point deadline, Patience& patience,
                              const std::function<void(postgres::TenantStore&)>& use) {
  const For what = kind == DatabaseWork::push ? For::pushing : For::reading;
  std::unique_ptr<Known> known;
  {
    std::unique_lock lock(mutex_);
    if (!entry.freed.wait_until(lock, deadline, [&] { return entry.at_work < most_at_work(); }))
      return fail(Code::busy, "the tenant is busy with other requests; try again");
    ++entry.at_work;
    if (!entry.idle.empty()) {
      known = std::move(entry.idle.back());
      entry.idle.pop_back();
    }
  }
  // Whatever happens, the turn and the connection are given back.
  Status outcome;
  std::unique_ptr<postgres::Connection> held;
  try {
    if (!known) known = std::make_unique<Known>(name, clock_, random_);
    known->tenant.lock_timeout_ms = settings_.lock_timeout_ms;
    known->tenant.statement_timeout_ms = settings_.statement_timeout_ms;
    known->tenant.turn_ms = patience.turn.count(), known->tenant.commit_ms = patience.commit.count();
    known->tenant.deadline = deadline;
    known->tenant.stalled = false;
    Result<std::unique_ptr<postgres::Connection>> connection = take(pool, deadline, what);
    if (connection.ok()) {
      held = std::move(*connection);
      held->set_deadline(deadline);
      // Whatever made a new connection necessary, the database may be an older one now: a backup, or a standby that had
      // not heard of everything. What was known of it is asked again.
      if (const uint64_t opened = pool.opened; std::exchange(known->opened, opened) != opened) {
        known->tenant.sites = {}, known->tenant.catalog.reset();
        std::lock_guard lock(mutex_);
        if (entry.catalog_opened == opened) known->tenant.catalog = entry.catalog;
      }
      const Waiting waiting(*this, kind, *held);
      use(*postgres::make_tenant_store(*held, known->tenant, auto_schema_,
                                       {settings_.impersonate, settings_.impersonate_role, settings_.recheck_ms}));
      waiting.tell();
    } else {
      outcome = connection.error();
    }
  } catch (const std::bad_alloc&) {
    outcome = fail(Code::overloaded, "the server is short of memory; try again");
  } catch (const std::exception& e) {
    outcome = fail(Code::internal, e.what());
  }
  if (held) give_back(pool, std::move(held), what);
  patience.stalled = known && known->tenant.stalled;
  const bool has_grown = known && std::exchange(known->tenant.grown, false);
  const int64_t forgotten = known ? std::exchange(known->tenant.forgotten, 0) : 0;
  {
    std::lock_guard lock(mutex_);
    if (known) {
      entry.catalog = known->tenant.catalog, entry.catalog_opened = known->opened;
      entry.idle.push_back(std::move(known));
    }
    --entry.at_work;
    entry.freed.notify_one();
  }
  if (has_grown && grown) grown(name);
  if (forgotten > 0 && forgot) forgot(forgotten);
  return outcome;
}

Status PostgresTenants::with(const std::string& name, std::chrono::steady_clock::time_point deadline, const Use& use) {
  REJOIN_TRY(check_tenant_name(name));
  std::unique_lock lock(mutex_);
  if (entries_.size() > kMostEntries) std::erase_if(entries_, [](const auto& e) { return e.second->users == 0; });
  std::shared_ptr<Entry>& found = entries_[name];
  if (!found) found = std::make_shared<Entry>();
  const std::shared_ptr<Entry> entry = found;
  const std::shared_ptr<Pool> pool = pool_of(tenant_database(settings_.url, name));
  ++entry->users;
  lock.unlock();
  Gate gate(*this, name, *entry, *pool, deadline);
  TimedStore timed(gate, worked, false);
  AuditedStore audited(timed, name, gate);
  const DiscreetStore::Tell tell = [&](const Error& error) { (void)report(name, error); };
  DiscreetStore discreet(settings_.audit ? static_cast<sync::TenantStore&>(audited) : timed, tell);
  const auto leave = [&] {
    lock.lock();
    --entry->users;
  };
  try {
    const Status outcome = use(discreet);
    leave();
    return outcome;
  } catch (...) {
    leave();
    throw;
  }
}

size_t PostgresTenants::open() const {
  std::lock_guard lock(mutex_);
  size_t n = 0;
  for (const auto& [url, pool] : pools_) n += pool->idle.size() + pool->out;
  return n;
}

void PostgresTenants::close() {
  std::lock_guard lock(mutex_);
  for (auto& [url, pool] : pools_) pool->idle.clear();
}

Status PostgresTenants::probe() {
  if (database_per_tenant()) return {};
  std::shared_ptr<Pool> pool;
  {
    std::lock_guard lock(mutex_);
    pool = pool_of(settings_.url);
  }
  auto connection = take(*pool, std::chrono::steady_clock::now() + std::chrono::seconds(5));
  if (!connection.ok()) return report("", connection.error());
  Status answered = postgres::check_version(**connection);
  if (answered.ok()) answered = postgres::check_writable(**connection);
  give_back(*pool, std::move(*connection));
  return answered.ok() ? answered : report("", answered.error());
}

}  // namespace rejoin::server
