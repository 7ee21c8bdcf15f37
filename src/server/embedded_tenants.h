// The embedded store: one SQLite replica per tenant, opened when needed, the least recently used closed when many are
// open.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "server/tenants.h"
#include "sync/audit.h"

namespace rejoin::server {

class EmbeddedTenants final : public Tenants {
 public:
  // Keeps files in `folder` (made when missing). `most_open` handles stay open; more only while more requests than that
  // are at work.
  // `audit`: where pushes are written down, if anywhere.
  EmbeddedTenants(std::string folder, size_t most_open, int busy_timeout_ms, Clock& clock,
                  std::unique_ptr<sync::AuditSink> audit = nullptr);
  ~EmbeddedTenants() override;
  EmbeddedTenants(const EmbeddedTenants&) = delete;
  EmbeddedTenants& operator=(const EmbeddedTenants&) = delete;

  Status with(const std::string& tenant, std::chrono::steady_clock::time_point deadline, const Use& use) override;
  size_t open() const override;
  void close() override;
  // Can files be written in the folder?
  Status probe() override;

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
  const std::unique_ptr<sync::AuditSink> audit_;
  mutable std::mutex mutex_;
  Entries entries_;
  std::list<std::string> recent_;  // the most recently used first
};

}  // namespace rejoin::server
