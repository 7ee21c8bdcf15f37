// A device's session and a server's session over real stores, without a network: what goes to and fro can be lost,
// repeated, cut or changed at any point.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/random.h"
#include "sync/device_session.h"
#include "sync/server_session.h"
#include "tests/support/peer.h"

namespace rejoin::testing {

// What the two texts differ in, line by line, the first few lines; empty when they are equal.
std::string difference(const std::string& one, const std::string& other);

// One server with one tenant.
class LoopbackServer {
 public:
  LoopbackServer();
  // With another store than a database of its own; `peer()` then only keeps the clock.
  explicit LoopbackServer(std::unique_ptr<sync::TenantStore> store);
  // The tenant's database.
  Peer& peer() { return *peer_; }
  sync::TenantStore& store() { return *store_; }

  Bytes answer(BytesView request, const sync::Caller& caller);

  sync::ServerSettings settings;
  sync::ServeStats last;  // of the newest exchange
  uint64_t exchanges = 0;

 private:
  std::unique_ptr<Peer> peer_;
  std::unique_ptr<sync::TenantStore> store_;
};

// What happens to one exchange. `refuse`: the server answers that it was asked too often, and has read no more than the
// head.
enum class Fault {
  none,
  lose_request,
  lose_response,
  repeat_request,
  cut_request,
  cut_response,
  flip_response,
  refuse
};

struct LoopbackDevice {
  explicit LoopbackDevice(const std::string& device, const std::string& schema = "",
                          const std::vector<std::string>& tracked = {}, const std::string& file = "")
      : peer(schema, tracked, file), caller{device, false, true} {}

  Peer peer;
  sync::Caller caller;
  std::string url = "http://server";
  sync::DeviceOptions options;
  // Asked before each exchange, with its number from 0.
  std::function<Fault(uint64_t)> fault;
  // Called while each request is on its way, and while each response is.
  std::function<void(uint64_t)> during_request;
  std::function<void(uint64_t)> during_response;
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;
  uint64_t largest_message = 0;
  uint64_t exchanges = 0;  // of the last sync

  // One session, from start to done. Sleeps take no time.
  sync::Done sync(LoopbackServer& server);
  // The same, which must succeed.
  sync::SyncTotals must_sync(LoopbackServer& server);
};

}  // namespace rejoin::testing
