// PostgreSQL as the store: a pool of connections for each database, and what is known of each tenant.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "postgres/store.h"
#include "server/settings.h"
#include "server/tenants.h"

namespace rejoin::server {

class PostgresTenants final : public Tenants {
 public:
  // A database that cannot be reached now may be there later: that is no error, but said in the log, by probe() and to
  // whoever asks for a tenant. Errors that waiting does not cure: bad_argument (the address), unauthorized, forbidden,
  // not_found (no such database, or the schema rejoin is not installed), unsupported (another version of it). With a
  // database for each tenant nothing is connected to yet.
  static Result<std::unique_ptr<Tenants>> start(const PostgresSettings& settings, bool auto_schema, Log& log,
                                                Clock& clock, Random& random);
  ~PostgresTenants() override;

  Status with(const std::string& tenant, std::chrono::steady_clock::time_point deadline, const Use& use) override;
  size_t open() const override;
  void close() override;
  Status probe() override;
  bool tells_growth() const override { return true; }  // once for all pushes of a commit

 private:
  struct Known;
  struct Entry;
  struct Pool;
  class Gate;
  class Waiting;
  PostgresTenants(const PostgresSettings& settings, bool auto_schema, Log& log, Clock& clock, Random& random);
  bool database_per_tenant() const;
  std::shared_ptr<Pool> pool_of(const std::string& url);
  // What for is a connection taken? What is pushed waits for synchronous standbys.
  enum class For { reading, pushing };
  // A connection that works, from the pool or new.
  Result<std::unique_ptr<postgres::Connection>> take(Pool& pool, std::chrono::steady_clock::time_point deadline,
                                                     For what = For::reading);
  void give_back(Pool& pool, std::unique_ptr<postgres::Connection> connection, For what = For::reading);
  using Connections = std::vector<std::unique_ptr<postgres::Connection>>;
  // Takes those whose COMMIT was answered at last out of the pool. The mutex is held.
  static void let_go(Pool& pool, Connections& closing);
  struct Patience;
  // Runs `use` with a connection and what is known of the tenant. Errors: busy, overloaded, and those of connecting.
  Status lease(DatabaseWork kind, const std::string& name, Entry& entry, Pool& pool,
               std::chrono::steady_clock::time_point deadline, Patience& patience,
               const std::function<void(postgres::TenantStore&)>& use);
  size_t most_at_work() const;
  size_t most_pushing() const;
  void close_oldest(Connections& closing);
  Status look_at(postgres::Connection& connection);
  // Into the log; gives what devices are told.
  Error report(const std::string& tenant, const Error& error);

  const PostgresSettings settings_;
  const bool auto_schema_;
  Log& log_;
  Clock& clock_;
  Random& random_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<Entry>> entries_;
  std::map<std::string, std::shared_ptr<Pool>> pools_;
  uint64_t uses_ = 0;
};

}  // namespace rejoin::server
