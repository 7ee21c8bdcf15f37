// Stays connected to a server: local writes go out as they come, and news come in as they are committed. On the
// caller's thread, until it is told to stop.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "sqlite/database.h"
#include "sync/device_session.h"
#include "sync/live_messages.h"

namespace rejoin::client {

struct LiveConnected {
  int64_t migrated = 0;               // tables and columns that the server gives out, made just now
  std::optional<Error> not_migrated;  // why one of them could not be made; the rest goes on without it
};
// What came of an exchange, or of a page that was sent by itself. A push that the server refuses for good has an error
// and does not end the connection.
struct LiveSynced {
  sync::SyncTotals totals;
  std::optional<Error> error;
};
struct LiveWaiting {  // to connect again
  Error why;
  int64_t ms = 0;
};
using LiveTold = std::variant<LiveConnected, LiveSynced, LiveWaiting, sync::AppMessage>;

struct LiveOptions {
  std::function<void(const LiveTold&)> told;
  std::function<bool()> cancelled;     // asked about ten times a second and more; true ends it
  std::function<std::string()> token;  // asked before each connection, and before the last one expires
  std::string ca_file;
  std::vector<std::string> topics;  // whose messages are told
  int64_t look_ms = 50;             // how often the file is looked at for other connections' writes
  int64_t longest_backoff_ms = 30'000;
  bool migrate = false;  // tables and columns that the server gives out are made here before each connection
  sync::DeviceOptions session;
};

// Ok when it was cancelled. Errors: bad_argument (address, token), and what no waiting cures: unauthorized, forbidden,
// not_found, unsupported and the like. The database is not locked while the network is waited for.
Status run_live(sqlite::Database& database, const std::string& url, const LiveOptions& options);

}  // namespace rejoin::client
