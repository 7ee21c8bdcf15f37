// Where tenants' data lives, as the routes see it: a store for the time of one request.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/result.h"
#include "sync/store.h"

namespace rejoin::server {

// What a store asked PostgreSQL for.
enum class DatabaseWork { push, pull, contract, audit, connect };
// What a store was asked for: a push, from its call to its reply; a page; what a transaction did that merged one push
// or several; and what concerns contracts.
enum class StoreWork { push, pull, merge, contract };

// Thread-safe.
class Tenants {
 public:
  virtual ~Tenants() = default;
  using Use = std::function<Status(sync::TenantStore&)>;
  // Runs `use` with the tenant's store; tenants don't wait for each other. A tenant that does not exist is made. After
  // `deadline`, waiting ends with `busy` and SQL that runs is interrupted.
  virtual Status with(const std::string& tenant, std::chrono::steady_clock::time_point deadline, const Use& use) = 0;
  // What is held open: databases, or connections.
  virtual size_t open() const = 0;
  // Closes what is not in use.
  virtual void close() = 0;
  // Can requests be served? What /ready says.
  virtual Status probe() = 0;

  // Does it tell `grown` of each commit by itself?
  virtual bool tells_growth() const { return false; }

  // Told after a tenant's log has grown, by requests here; now and then also when it has not. Set before the first
  // request; on any thread.
  std::function<void(const std::string& tenant)> grown;
  // Told how long a piece of work waited for PostgreSQL, in how many round trips; those of a group of pushes are told
  // once. Set, and told, like `grown`.
  std::function<void(DatabaseWork kind, std::chrono::steady_clock::duration time, uint64_t round_trips)> waited;
  // Told how long a call of a store took. Set, and told, like `grown`.
  using Worked = std::function<void(StoreWork kind, std::chrono::steady_clock::duration time)>;
  Worked worked;
  // Told how many deletions PostgreSQL has forgotten beside a request. Set, and told, like `grown`.
  std::function<void(int64_t deletions)> forgot;
};

}  // namespace rejoin::server
