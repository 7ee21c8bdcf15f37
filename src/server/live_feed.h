// How a server hears of what happened to a tenant outside of its own requests, and tells other nodes: by the store that
// they share.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/log.h"
#include "server/settings.h"

namespace rejoin::server {

class LiveFeed {
 public:
  // On the feed's thread. A tenant that `changed` may have news; now and then it has none. `since`: when the oldest of
  // them was made, or before; none when nobody knows. `captured`: when the oldest captured write of followed tenants
  // was made that is not folded yet.
  struct Heard {
    using Since = std::optional<std::chrono::steady_clock::time_point>;
    std::function<void(const std::string& tenant, Since since)> changed;
    std::function<void(const std::string& tenant, BytesView message)> message;
    std::function<void(Since since)> captured;
  };
  // Ends the thread.
  virtual ~LiveFeed() = default;
  // Somebody here follows the tenant, or nobody any more. Any thread.
  virtual void follow(const std::string& tenant) = 0;
  virtual void unfollow(const std::string& tenant) = 0;
  // A request here has made the tenant's log longer. Any thread; does not wait.
  virtual void grown(const std::string& tenant) = 0;
  // To the other nodes, as far as they can be reached now. Any thread; does not wait.
  virtual void tell(const std::string& tenant, Bytes message) = 0;
};

// Other processes that write the files of the embedded store. There are no other nodes.
std::unique_ptr<LiveFeed> make_file_feed(std::string folder, const LiveSettings& settings, LiveFeed::Heard heard);

// PostgreSQL. `node` is random, in hex: what comes from there is known already.
std::unique_ptr<LiveFeed> make_postgres_feed(const PostgresSettings& postgres, const LiveSettings& settings,
                                             std::string node, LiveFeed::Heard heard, Log& log);

}  // namespace rejoin::server
