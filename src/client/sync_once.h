// One sync of a replica with a server over HTTP, from start to finish, on the caller's thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sqlite/replica.h"
#include "sync/device_session.h"

namespace rejoin::client {

struct SyncProgress {
  sync::SyncTotals totals;
  uint64_t bytes_sent = 0;  // of bodies, as they went over the wire
  uint64_t bytes_received = 0;
  std::optional<Error> failure;  // what is being waited out
  int64_t wait_ms = 0;           // for how long
};

struct SyncOptions {
  std::function<void(const SyncProgress&)> progress;  // after every round trip and before every wait
  std::function<bool()> cancelled;                    // asked about ten times a second; true ends the sync
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::string ca_file;  // see net::HttpClientOptions
  // Asked for another token when the server turns the one in force away (it has expired, say); the request that was
  // turned away is sent once more, so a session keeps its place. An error, or the same token, ends the sync.
  std::function<Result<std::string>()> renew_token;
  bool migrate = false;  // tables and columns that the server gives out are made here first
  sync::DeviceOptions session;
};

// A table that was dropped or renamed, and made anew: it is not synced any more.
struct NotSynced {
  std::string table;
  uint64_t unsent = 0;  // writes that the server did not have when that happened
  std::string message;
};

struct SyncReport {
  sync::SyncTotals totals;
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;
  uint64_t pending = 0;               // writes that the server does not have yet
  uint64_t rejected = 0;              // rows listed in rejoin_rejections
  uint64_t parked = 0;                // rows listed in rejoin_parked
  std::optional<Error> error;         // why it ended early; what the totals say is done all the same
  std::string token;                  // that was in force at the end
  int64_t migrated = 0;               // tables and columns that were made
  std::optional<Error> not_migrated;  // why what the server gives out could not be made; the sync went on without it
  std::vector<NotSynced> not_synced;
};

// `url`: the server's address as rejoin_connect takes it (http://host[:port][/prefix]); its exact text names the server
// in the replica. Errors: bad_argument for the address. Everything else that goes wrong is in the report. The database
// is not locked while the network is waited for. A sync that was cut is continued by the next one.
Result<SyncReport> sync_once(sqlite::Replica& replica, const std::string& url, const std::string& token,
                             const SyncOptions& options = {});

// {"pushed":…,"pulled":…,"rejected":…,"parked":…,"pending":…,"migrated":…,"error":null or
// {"code":…,"name":…,"message":…}}, and "not_synced":[{"table":…,"unsent":…,"message":…}] if there are any
std::string report_json(const SyncReport& report);

}  // namespace rejoin::client
