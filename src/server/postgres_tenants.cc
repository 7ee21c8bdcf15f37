#include "server/postgres_tenants.h"

#include <atomic>
#include <utility>

#include "postgres/admin.h"
#include "server/discreet_store.h"
#include "server/postgres_url.h"
#include "server/tenant_files.h"

namespace rejoin::server {
namespace {

// Tenants that nobody asks for are forgotten when there are more; what is known of them is read again.
constexpr size_t kMostEntries = 4096;

}  // namespace

struct PostgresTenants::Entry {
  Entry(const std::string& name, Clock& clock, Random& random) : tenant(name, clock, random) {}
  // Used by whoever set `busy`.
  postgres::Tenant tenant;
  uint64_t opened = 0;  // Pool::opened when `tenant` was read
  // Guarded by PostgresTenants::mutex_.
  bool busy = false;
  int users = 0;  // those that wait included
  std::condition_variable freed;
};

struct PostgresTenants::Pool {
  std::string url;
  // Guarded by PostgresTenants::mutex_.
  std::vector<std::unique_ptr<postgres::Connection>> idle;
  size_t out = 0;
  uint64_t used = 0;                 // when one was given back, in order
  std::atomic<uint64_t> opened = 0;  // connections so far
  std::condition_variable freed;
};

PostgresTenants::PostgresTenants(const PostgresSettings& settings, bool auto_schema, Log& log, Clock& clock,
                                 Random& random)
    : settings_(settings), auto_schema_(auto_schema), log_(log), clock_(clock), random_(random) {}

PostgresTenants::~PostgresTenants() = default;

Result<std::unique_ptr<Tenants>> PostgresTenants::start(const PostgresSettings& settings, bool auto_schema, Log& log,
                                                        Clock& clock, Random& random) {
  std::unique_ptr<PostgresTenants> out(new PostgresTenants(settings, auto_schema, log, clock, random));
  if (!database_per_tenant(settings)) {
    REJOIN_ASSIGN(auto connection, postgres::Connection::open(settings.url));
    REJOIN_TRY(out->look_at(*connection));
    out->pool_of(settings.url)->idle.push_back(std::move(connection));
  }
  return std::unique_ptr<Tenants>(std::move(out));
}

std::shared_ptr<PostgresTenants::Pool> PostgresTenants::pool_of(const std::string& url) {
  std::shared_ptr<Pool>& pool = pools_[url];
  if (!pool) {
    pool = std::make_shared<Pool>();
    pool->url = url;
  }
  return pool;
}

// Once for each new connection's database: is it one that this build can serve?
Status PostgresTenants::look_at(postgres::Connection& connection) {
  connection.set_prepare(settings_.prepare);
  REJOIN_TRY(postgres::check_version(connection));
  REJOIN_ASSIGN(const bool super, postgres::bypasses_row_security(connection));
  if (super)
    log_.write(LogLevel::warning, "superuser",
               {{"cure", "let the server use a role that may only read and write: rejoin pg init --role ROLE"}});
  return {};
}

Result<std::unique_ptr<postgres::Connection>> PostgresTenants::take(Pool& pool,
                                                                    std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  const bool mine = pool.freed.wait_until(lock, deadline, [&] { return pool.out < settings_.connections; });
  if (!mine)
    return fail(Code::overloaded, "all " + std::to_string(settings_.connections) +
                                      " connections to PostgreSQL are in use; try again, or raise "
                                      "--postgres-connections");
  ++pool.out;
  while (!pool.idle.empty()) {
    std::unique_ptr<postgres::Connection> connection = std::move(pool.idle.back());
    pool.idle.pop_back();
    if (connection->alive()) return connection;
  }
  const bool first = pool.out == 1;
  lock.unlock();
  Result<std::unique_ptr<postgres::Connection>> made = postgres::Connection::open(pool.url);
  Status looked;
  if (made.ok() && database_per_tenant(settings_) && first) looked = look_at(**made);
  if (made.ok()) (*made)->set_prepare(settings_.prepare);
  ++pool.opened;
  if (made.ok() && looked.ok()) return made;
  lock.lock();
  --pool.out;
  pool.freed.notify_one();
  return made.ok() ? looked.error() : made.error();
}

void PostgresTenants::give_back(Pool& pool, std::unique_ptr<postgres::Connection> connection) {
  connection->set_deadline(std::nullopt);
  const bool usable = connection->usable() && !connection->in_transaction();
  std::vector<std::unique_ptr<postgres::Connection>> closing;  // outside of the lock
  std::lock_guard lock(mutex_);
  --pool.out;
  pool.used = ++uses_;
  pool.idle.push_back(std::move(connection));
  if (!usable) closing = std::exchange(pool.idle, {});  // if the server went away, the others are dead too
  if (database_per_tenant(settings_)) close_oldest(closing);
  pool.freed.notify_one();
}

// All databases together keep no more idle connections than one may have: a PostgreSQL server has a hundred by default,
// for all its databases. The mutex is held.
void PostgresTenants::close_oldest(std::vector<std::unique_ptr<postgres::Connection>>& closing) {
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

Status PostgresTenants::with(const std::string& name, std::chrono::steady_clock::time_point deadline, const Use& use) {
  REJOIN_TRY(check_tenant_name(name));
  std::unique_lock lock(mutex_);
  if (entries_.size() > kMostEntries) std::erase_if(entries_, [](const auto& e) { return e.second->users == 0; });
  std::shared_ptr<Entry>& found = entries_[name];
  if (!found) found = std::make_shared<Entry>(name, clock_, random_);
  const std::shared_ptr<Entry> entry = found;
  const std::shared_ptr<Pool> pool = pool_of(postgres_url_of(settings_, name));
  ++entry->users;
  Status outcome = fail(Code::busy, "the tenant is busy with other requests; try again");
  bool has_grown = false;
  if (entry->freed.wait_until(lock, deadline, [&] { return !entry->busy; })) {
    entry->busy = true;
    lock.unlock();
    auto connection = take(*pool, deadline);
    if (connection.ok()) {
      (*connection)->set_deadline(deadline);
      // Whatever made a new connection necessary, the database may be an older one now: a backup, or a standby that
      // had not heard of everything. What was known of it is asked again.
      if (const uint64_t opened = pool->opened; std::exchange(entry->opened, opened) != opened)
        entry->tenant.sites = {}, entry->tenant.catalog.reset();
      const auto store = postgres::make_tenant_store(**connection, entry->tenant, auto_schema_);
      const DiscreetStore::Tell tell = [&](const Error& error) { (void)report(name, error); };
      DiscreetStore discreet(*store, tell);
      outcome = use(discreet);
      has_grown = std::exchange(entry->tenant.grown, false);
      give_back(*pool, std::move(*connection));
    } else {
      outcome = report(name, connection.error());
    }
    lock.lock();
    entry->busy = false;
    entry->freed.notify_one();
  }
  --entry->users;
  lock.unlock();
  if (has_grown && grown) grown(name);
  return outcome;
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
  if (database_per_tenant(settings_)) return {};
  std::shared_ptr<Pool> pool;
  {
    std::lock_guard lock(mutex_);
    pool = pool_of(settings_.url);
  }
  auto connection = take(*pool, std::chrono::steady_clock::now() + std::chrono::seconds(5));
  if (!connection.ok()) return report("", connection.error());
  Status answered = postgres::check_version(**connection);
  give_back(*pool, std::move(*connection));
  return answered.ok() ? answered : report("", answered.error());
}

}  // namespace rejoin::server
