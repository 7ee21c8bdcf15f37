// What those who run a server ask of a tenant's store, beside its devices.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "crdt/version.h"

namespace rejoin::sync {

// A device's site: a copied file makes another of the same device.
struct DeviceInfo {
  std::string device;
  crdt::SiteId site;
  int64_t last_seen_ms = 0;
  uint64_t pending = 0;       // log positions that it has not confirmed
  uint64_t staged_bytes = 0;  // of pages that wait for the rest of their transaction
};

struct TenantInfo {
  uint64_t devices = 0;   // sites of devices
  uint64_t rows = 0;      // of all synced tables
  uint64_t deleted = 0;   // rows of which a record is left
  uint64_t log_rows = 0;  // of the change log
  uint64_t bytes = 0;     // the embedded store: of the tenant's file; PostgreSQL: of Rejoin's own data about it
  int64_t last_seen_ms = 0;
};

class TenantAdmin {
 public:
  virtual ~TenantAdmin() = default;
  virtual Result<TenantInfo> info() = 0;
  // By name, then by when they were seen, the latest first.
  virtual Result<std::vector<DeviceInfo>> devices() = 0;
  // Forgets the device's place: it holds nothing back any more. If it comes again, it is told (unknown_chain), sends
  // everything that it has, unsent writes included, and reads everything anew. The number of its sites. Error:
  // not_found.
  virtual Result<uint64_t> forget(const std::string& device) = 0;
};

}  // namespace rejoin::sync
