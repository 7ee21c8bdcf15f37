#include "server/embedded_tenants.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <utility>

#include "server/audited_store.h"
#include "server/tenant_files.h"
#include "server/timed_store.h"
#include "sqlite/database.h"

namespace rejoin::server {

struct EmbeddedTenants::Entry {
  std::string tenant;
  // Used by whoever set `busy`.
  std::unique_ptr<sqlite::Database> database;
  std::unique_ptr<sync::TenantStore> store;  // borrows the database, so it goes first
  // Guarded by EmbeddedTenants::mutex_.
  bool busy = false;
  int users = 0;  // those that wait included
  std::condition_variable freed;
  std::list<std::string>::iterator recent;
};

EmbeddedTenants::EmbeddedTenants(std::string folder, size_t most_open, int busy_timeout_ms, Clock& clock,
                                 std::unique_ptr<sync::AuditSink> audit)
    : folder_(std::move(folder)),
      most_open_(most_open ? most_open : 1),
      busy_timeout_ms_(busy_timeout_ms),
      clock_(clock),
      audit_(std::move(audit)) {}

EmbeddedTenants::~EmbeddedTenants() = default;

std::shared_ptr<EmbeddedTenants::Entry> EmbeddedTenants::find(const std::string& tenant) {
  std::shared_ptr<Entry>& entry = entries_[tenant];
  if (!entry) {
    entry = std::make_shared<Entry>();
    entry->tenant = tenant;
    entry->recent = recent_.insert(recent_.begin(), tenant);
  } else {
    recent_.splice(recent_.begin(), recent_, entry->recent);
  }
  return entry;
}

std::vector<std::shared_ptr<EmbeddedTenants::Entry>> EmbeddedTenants::unused(size_t beyond) {
  std::vector<std::shared_ptr<Entry>> out;
  for (auto it = recent_.end(); entries_.size() > beyond && it != recent_.begin();) {
    --it;
    auto found = entries_.find(*it);
    if (found->second->users != 0) continue;
    out.push_back(std::move(found->second));
    entries_.erase(found);
    it = recent_.erase(it);
  }
  return out;
}

Status EmbeddedTenants::open_entry(Entry& entry) {
  if (entry.store) return {};
  sqlite::DatabaseOptions options;
  options.full_sync = true;  // an acknowledgement promises that the write survives a loss of power
  options.busy_timeout_ms = busy_timeout_ms_;
  REJOIN_ASSIGN(entry.database,
                sqlite::Database::open(folder_ + "/" + tenant_file_name(entry.tenant) + ".db", options, clock_));
  entry.store = sqlite::make_tenant_store(entry.database->replica());
  return {};
}

Status EmbeddedTenants::with(const std::string& tenant, std::chrono::steady_clock::time_point deadline,
                             const Use& use) {
  REJOIN_TRY(check_tenant_name(tenant));
  std::vector<std::shared_ptr<Entry>> closing;  // goes outside the lock: the last close of a WAL file writes
  std::unique_lock lock(mutex_);
  const std::shared_ptr<Entry> entry = find(tenant);
  ++entry->users;
  const bool mine = entry->freed.wait_until(lock, deadline, [&] { return !entry->busy; });
  Status outcome = fail(Code::busy, "the tenant is busy with other requests; try again");
  if (mine) {
    entry->busy = true;
    lock.unlock();
    outcome = open_entry(*entry);
    if (outcome.ok()) {
      entry->database->set_deadline(deadline);
      TimedStore timed(*entry->store, worked, true);
      if (audit_) {
        AuditedStore audited(timed, tenant, *audit_);
        outcome = use(audited);
      } else {
        outcome = use(timed);
      }
      entry->database->set_deadline();
    }
    lock.lock();
    entry->busy = false;
    entry->freed.notify_one();
  }
  --entry->users;
  closing = unused(most_open_);
  lock.unlock();
  return outcome;
}

size_t EmbeddedTenants::open() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

void EmbeddedTenants::close() {
  std::vector<std::shared_ptr<Entry>> closing;  // outlives the lock
  std::lock_guard lock(mutex_);
  closing = unused(0);
}

Status EmbeddedTenants::probe() {
  const std::string path = folder_ + "/.ready-" + std::to_string(::getpid());
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written = fd >= 0 && ::write(fd, "ready\n", 6) == 6;
  const int error = errno;
  if (fd >= 0) ::close(fd), ::unlink(path.c_str());
  if (written) return {};
  return fail(Code::disk, "the data folder '" + folder_ + "' cannot be written: " + std::strerror(error) +
                              "; check its permissions and the room on the disk");
}

}  // namespace rejoin::server
