// The embedded store: one SQLite replica per tenant, opened when needed, the least recently used closed when many are
// open.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "sync/store.h"

namespace rejoin::server {

class Tenants {
 public:
  // Keeps files in `folder` (made when missing). `most_open` handles stay open; more only while more requests than that
  // are at work.
  Tenants(std::string folder, size_t most_open, int busy_timeout_ms, Clock& clock);
  ~Tenants();
  Tenants(const Tenants&) = delete;
  Tenants& operator=(const Tenants&) = delete;

  using Use = std::function<Status(sync::TenantStore&)>;
  // Runs `use` with the tenant's store, one caller at a time per tenant; tenants don't wait for each other. A tenant
  // that does not exist is made. After `deadline`, waiting ends with `busy` and SQL that runs is interrupted.
  // Thread-safe.
  Status with(const std::string& tenant, std::chrono::steady_clock::time_point deadline, const Use& use);

  size_t open() const;
  // Closes what is not in use. Thread-safe.
  void close();
  // Can files be written in the folder? What /ready says. Thread-safe.
  Status probe() const;

 private:
  struct Entry;
  using Entries = std::unordered_map<std::string, std::shared_ptr<Entry>>;
  // Both under mutex_.
  std::shared_ptr<Entry> find(const std::string& tenant);
  std::vector<std::shared_ptr<Entry>> unused(size_t beyond);
  Status open_entry(Entry& entry);

  const std::string folder_;
  const size_t most_open_;
  const int busy_timeout_ms_;
  Clock& clock_;
  mutable std::mutex mutex_;
  Entries entries_;
  std::list<std::string> recent_;  // the most recently used first
};

}  // namespace rejoin::server
