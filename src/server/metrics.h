// What /metrics shows. No label ever names a tenant or a device: their number is unbounded and their names are nobody's
// business.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/http_server.h"
#include "server/tenants.h"
#include "sync/server_session.h"

namespace rejoin::server {

class Metrics {
 public:
  Metrics();
  ~Metrics();
  // `route` is one of the routes' names, or "other".
  void request(std::string_view route, int status, double seconds, uint64_t received, uint64_t sent);
  // `pushed` and `pulled`: whether there was a push, or a pull, at all. `store_seconds`: from asking for the store to
  // its answer. `queue_seconds`: waiting for a worker.
  void exchange(const sync::ServeStats& stats, bool pushed, bool pulled, double store_seconds, double queue_seconds);
  // A call of a tenant's store took so long.
  void store(StoreWork kind, std::chrono::steady_clock::duration time);
  // A piece of work waited so long for PostgreSQL, in so many round trips.
  void database(DatabaseWork kind, std::chrono::steady_clock::duration time, uint64_t round_trips);
  void error(Code code);
  // Tables that a page was read without.
  void left_out(uint64_t tables);
  // Deletions that PostgreSQL does not keep any longer.
  void forgot(int64_t deletions);
  // `scope` is "device" or "tenant".
  void rate_limited(std::string_view scope);
  // `outcome` is one of those of net::HttpHandlers::handshake.
  void handshake(std::string_view outcome);
  // Live connections: how many are open; pages read from a store, and sent on to how many; a reader that has to wait
  // for further pages; `kind` of an app message: "received", "delivered" or "dropped"; one that ended, by close code.
  void live_connections(size_t open);
  void live_page(size_t readers);
  void live_slow_reader();
  // A page was handed to readers who had everything but what it brings, so long after the oldest of that.
  void live_lag(std::chrono::steady_clock::duration lag);
  // When the oldest captured write of followed tenants was made that is not folded yet.
  void captured_waits(std::optional<std::chrono::steady_clock::time_point> since);
  void live_messages(std::string_view kind, size_t n);
  void live_closed(int code);
  // Prometheus' text format 0.0.4. All methods are thread-safe.
  std::string text(const net::HttpServerGauges& gauges, size_t open_tenants);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rejoin::server
